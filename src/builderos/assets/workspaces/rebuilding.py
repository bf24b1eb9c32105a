"""Rows that are gone, written again from the record, git and the credentials: `builderos doctor --rebuild`.

Only what is missing is written; a row that is there is the truth, whatever the record tells. Comments on promotions
stand nowhere else and do not come back.
"""

import functools
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeAlias

import pygit2
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import Branch
from builderos.assets.repositories.service import RepositoryStore, decode_commit, diff_trees
from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.problems import Problem
from builderos.core.unit import Unit, as_system
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger

from . import allowance, backups, delivery
from .content import TreeFiles, batch_of, tree_of
from .layout import layout_of
from .model import backups as backup_rows
from .model import pulls, sandboxes, shares
from .pushed import changelog_entry, memory_items
from .recounting import Push, Told, recount

log = logging.getLogger("builderos.workspaces")
Writer: TypeAlias = Callable[[Unit, Told, str], None]
ERASED: Final = "(erased)"
_ORDER: Final = {"main": 0, "base": 1}  # sandboxes borrow from them


@dataclass
class Rebuilt:
    """How many rows were written, by table, and what could not be."""

    rows: dict[str, int] = field(default_factory=dict[str, int])
    failed: list[str] = field(default_factory=list[str])

    def count(self, table: str) -> None:
        """One more."""
        self.rows[table] = self.rows.get(table, 0) + 1


def missing(unit: Unit) -> list[str]:
    """Ids that the record of the organisation tells of and that have no rows."""
    told = _told(unit)
    return [id_ for rows in _lost(unit, told).values() for id_ in rows]


def rebuild_all(context: Context) -> Rebuilt:
    """Write the missing rows of every organisation, each in transactions of its own. Safe to repeat."""
    done = Rebuilt()
    for org_id in context.get(Database).organisations("settle"):
        rebuild(context, org_id, done)
    return done


def rebuild(context: Context, org_id: str, done: Rebuilt) -> None:
    """The same for one organisation. What cannot be written is named in `done`, and the rest goes on."""
    told = as_system(context, org_id, _told, read_only=True)
    lost = as_system(context, org_id, lambda unit: _lost(unit, told), read_only=True)
    for table, write in _WRITERS.items():
        for id_ in lost[table]:
            verb: Callable[[Unit], None] = functools.partial(_write, write, told, id_)
            try:
                as_system(context, org_id, verb)
                done.count(table)
            except (Problem, OSError, KeyError, pygit2.GitError, IntegrityError) as error:
                log.warning("%s could not be rebuilt: %s", id_, type(error).__name__)
                done.failed.append(id_)


def _write(write: Writer, told: Told, id_: str, unit: Unit) -> None:
    write(unit, told, id_)


def _told(unit: Unit) -> Told:
    told = recount(json.loads(line.body) for line in ledger.scan(unit))
    titles = [
        {"title": row["title"]} for row in told.pulls.values()
    ]  # what people wrote stands beside the record
    known = ledger.words.kept(unit, titles)
    for row, title in zip(told.pulls.values(), titles, strict=True):
        row["title"] = ledger.words.opened(title, known)["title"] or ERASED
    return told


def _lost(unit: Unit, told: Told) -> dict[str, list[str]]:
    """By table: ids without a row, in an order in which they can be written."""
    known_repositories, known_branches = repositories.known(unit)
    lost_branches = [b for b in told.branches.values() if b.id not in known_branches]
    lost_branches.sort(key=lambda branch: (_ORDER.get(branch.kind, 2), branch.id))
    return {
        "repositories": [id_ for id_ in told.repositories if id_ not in known_repositories],
        "branches": [branch.id for branch in lost_branches],
        "sandboxes": _without_row(unit, sandboxes, told.sandboxes),
        "backups": _without_row(unit, backup_rows, told.backups),
        "pulls": _without_row(unit, pulls, told.pulls),
        "shares": _without_row(unit, shares, told.shares),
    }


def _without_row(unit: Unit, table: sa.Table, told: Mapping[str, Any]) -> list[str]:
    there = set(unit.execute(sa.select(table.c.id)).scalars())
    return [id_ for id_ in told if id_ not in there]


def _insert(unit: Unit, table: sa.Table, values: Mapping[str, Any]) -> None:
    unit.execute(insert(table).values(org_id=unit.org_id, **values).on_conflict_do_nothing())


# ---------------------------------------------------------------- branches


def _repository(unit: Unit, told: Told, id_: str) -> None:
    repositories.restore_repository(unit, told.repositories[id_])


def _branch(unit: Unit, told: Told, id_: str) -> None:
    lost, pushes = told.branches[id_], told.pushes.get(id_, [])
    lost.pending = len(pushes)
    repositories.restore_branch(unit, lost)
    branch = repositories.branch_by_id(unit, id_)
    if branch.kind in ("sandbox", "dev") and branch.tip != branch.base_sha:
        repositories.set_branch(unit, id_, files=_changed(unit, branch))
    repositories.restore_pending(unit, id_, list(_pending(unit, branch, pushes)))


def _changed(unit: Unit, branch: Branch) -> int:
    """How many files differ from what the branch stands on."""
    if not unit.get(RepositoryStore).exists(branch.store):
        return 0
    batch = batch_of(unit, branch)
    tip = TreeFiles(batch, tree_of(batch, branch.tip))
    layout = layout_of(tip)
    changes = diff_trees(batch, tree_of(batch, branch.base_sha), tip.tree)
    return sum(not delivery.is_delivery(path, layout) for path, _, _ in changes)


def _pending(
    unit: Unit, branch: Branch, pushes: list[Push]
) -> Iterator[tuple[str, dict[str, Any], list[dict[str, Any]]]]:
    for push in pushes:
        batch = batch_of(unit, branch)
        commits = {sha: decode_commit(batch.read(bytes.fromhex(sha))[1]) for sha in push.commits}
        after = TreeFiles(batch, tree_of(batch, push.sha))
        entry = changelog_entry(push.by, push.entry_id, branch, commits, push.paths)
        yield push.sha, entry, memory_items(push.by, after, push.paths, layout_of(after))


# ---------------------------------------------------------------- what stands on branches


def _sandbox(unit: Unit, told: Told, id_: str) -> None:
    """Its expiry is its token's, which slides with it; so does the time at which it was last active."""
    row = told.sandboxes[id_]
    ends = [at for _, sandbox_id, at in identity.ends(unit) if sandbox_id == row["id"]]
    expires_at = ends[0] if ends else None
    active = expires_at - allowance.lifetime(unit) if expires_at is not None else row["last_active_at"]
    values = {**row, "expires_at": expires_at, "last_active_at": max(active, row["created_at"])}
    _insert(unit, sandboxes, values)


def _share(unit: Unit, told: Told, id_: str) -> None:
    row = told.shares[id_]
    ends: dict[str, datetime | None] = {credential: at for credential, _, at in identity.ends(unit)}
    _insert(unit, shares, {**row, "expires_at": ends.get(row["credential_id"])})


def _backup(unit: Unit, told: Told, id_: str) -> None:
    row = told.backups[id_]
    branch = repositories.branch_by_id(unit, row["branch_id"])
    files = backups.contents(unit, branch, row["scope"], row["commit_sha"])
    listed = [path for path, _, _ in files[: backups.MAX_LISTED]]
    _insert(unit, backup_rows, {**row, "repo_id": branch.repo_id, "files": listed})


def _pull(unit: Unit, told: Told, id_: str) -> None:
    row = told.pulls[id_]
    repo_id = repositories.branch_by_id(unit, row["source_branch_id"]).repo_id
    _insert(unit, pulls, {**row, "repo_id": repo_id})


# In the order in which rows refer to each other.
_WRITERS: Final[dict[str, Writer]] = {
    "repositories": _repository,
    "branches": _branch,
    "sandboxes": _sandbox,
    "backups": _backup,
    "pulls": _pull,
    "shares": _share,
}
