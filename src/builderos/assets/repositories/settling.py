"""After an unclean stop: every move that was committed gets its objects and its ref.

In the same boot of the machine nothing that was written can be lost, only what was not written yet: a branch is looked
at, and mended where its tip is missing or its ref lags. After a power loss files may be torn, whatever their size says:
everything in the journal is written anew. The shared stores come first, before anybody is served; sandboxes when they
are opened, or in the background.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import pygit2
import sqlalchemy as sa

from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.problems import Problem
from builderos.core.unit import Unit, as_system

from . import durable
from .branches import branch_by_id, branch_columns, to_branch
from .journal import Torn, ready, rewrite, unborn
from .model import branches, git_journal
from .objects import Batch, tag_name
from .schema import MAIN, Branch
from .store import RepositoryStore

log = logging.getLogger("builderos.repositories")
_SLACK: Final = timedelta(minutes=1)  # between the database's clock and the file system's


@dataclass
class Settled:
    """How many branches were looked at, which were mended, which could not be."""

    looked_at: int = 0
    mended: int = 0
    failed: int = 0


def prepare(context: Context) -> None:
    """Before anybody is served: after a power loss write the shared stores anew and note which others may be torn."""
    store = context.get(RepositoryStore)
    mark = durable.read_mark(store.root)
    if mark.boot_id == durable.boot_id():
        return
    torn = context.get(Torn)
    for org_id in context.get(Database).organisations("settle"):
        shared, own = as_system(context, org_id, lambda unit: _suspects(unit, mark))
        for branch_id in shared:
            as_system(context, org_id, lambda unit, id_=branch_id: _rewrite(unit, id_))
        for branch_id in own:
            torn.add(branch_id)


def settle_all(context: Context, *, stopping: Callable[[], bool] = lambda: False) -> Settled:
    """In the background of a start: bring every branch that moved since the last flush to what the database says.

    Safe beside requests, and to repeat. `stopping` ends it between two branches.
    """
    store, torn = context.get(RepositoryStore), context.get(Torn)
    mark, result = durable.read_mark(store.root), Settled()
    for org_id in context.get(Database).organisations("settle"):
        shared, own = as_system(context, org_id, lambda unit: _suspects(unit, mark))
        for branch_id in [*shared, *own]:
            if stopping():
                return result
            _settle_one(context, org_id, branch_id, result)
    if not result.failed and not list(torn):
        durable.flush(store.root)
    return result


def _settle_one(context: Context, org_id: str, branch_id: str, result: Settled) -> None:
    result.looked_at += 1
    try:
        result.mended += as_system(context, org_id, lambda unit: align(unit, branch_id))
    except (Problem, OSError, pygit2.GitError) as error:  # one broken store must not hide the others
        result.failed += 1
        log.warning("the branch %s could not be settled: %s", branch_id, error)


def _since(mark: durable.Mark) -> datetime:
    return datetime.fromtimestamp(mark.synced_at, UTC) - _SLACK


def _suspects(unit: Unit, mark: durable.Mark) -> tuple[list[str], list[str]]:
    """Branches that moved or came into being since the mark: those of shared stores (main first), and the others.

    After a power loss those that never moved too: their stores are made by whoever reads them first, at any time.
    """
    c, since = branches.c, _since(mark)
    journal = sa.select(git_journal.c.branch_id).distinct()
    changed = [c.moved_at >= since, c.created_at >= since, c.id.in_(journal)]
    if mark.boot_id != durable.boot_id():
        changed.append(sa.and_(c.tip == c.base_sha, c.kind.in_(("sandbox", "dev"))))
    wanted = sa.select(c.id, c.kind).where(sa.or_(*changed))
    shared: list[str] = []
    own: list[str] = []
    for row in unit.execute(wanted.order_by(c.kind != MAIN, c.id)):
        (own if row.kind in ("sandbox", "dev") else shared).append(row.id)
    return shared, own


def _rewrite(unit: Unit, branch_id: str) -> None:
    rewrite(unit, branch_by_id(unit, branch_id, lock=True))


def misfits(unit: Unit) -> dict[str, str]:
    """Branches of the organisation whose files are not as the database says, by id: `store`, `commit` or `ref`.

    Looked at twice, because a branch may be moving at this moment.
    """
    store = unit.get(RepositoryStore)
    every = [to_branch(row) for row in unit.execute(branch_columns()).all()]
    suspects = [branch.id for branch in every if _misfit(store, branch) is not None]
    again = [branch_by_id(unit, id_) for id_ in suspects]
    return {branch.id: what for branch in again if (what := _misfit(store, branch)) is not None}


def _misfit(store: RepositoryStore, branch: Branch) -> str | None:
    store.forget(branch.store)  # an open handle remembers objects whose files are gone
    if unborn(store, branch):
        return None
    if not store.exists(branch.store):
        return "store"
    if not store.holds(branch.store, branch.tip):
        return "commit"
    return None if _refs_fit(store, branch) else "ref"


def align(unit: Unit, branch_id: str) -> bool:
    """Bring one branch's files exactly to what the database says; whether anything had to be done.

    The row is locked, so that no move can come in between. Raises what `ready` raises.
    """
    branch = branch_by_id(unit, branch_id, lock=True)
    store, torn = unit.get(RepositoryStore), unit.get(Torn)
    store.forget(branch.store)  # an open handle remembers objects whose files are gone
    if unborn(store, branch):
        torn.discard(branch.id)
        return False
    whole = branch.id not in torn and store.exists(branch.store)
    whole = whole and store.holds(branch.store, branch.tip) and _refs_fit(store, branch)
    if not whole:
        ready(unit, branch)
        _fit_refs(store, branch)
    return _restore_tags(unit, store, branch) or not whole


def _refs_fit(store: RepositoryStore, branch: Branch) -> bool:
    tip = store.read_ref(branch.store, branch.ref)
    if branch.state == "active":
        return tip == branch.tip
    archived = store.read_ref(branch.store, branch.archive_ref)
    return tip is None and (branch.state == "deleted" or archived == branch.tip)


def _fit_refs(store: RepositoryStore, branch: Branch) -> None:
    if branch.state == "active":
        store.write_ref(branch.store, branch.ref, branch.tip)
        return
    if branch.state == "archived":
        store.write_ref(branch.store, branch.archive_ref, branch.tip)
    store.delete_ref(branch.store, branch.ref)


def _restore_tags(unit: Unit, store: RepositoryStore, branch: Branch) -> bool:
    """Give the releases of main's journal rows their refs; the tag object itself knows its name."""
    if branch.kind != MAIN:
        return False
    c, restored = git_journal.c, False
    for row in unit.execute(sa.select(c.objects).where(c.branch_id == branch.id).order_by(c.id)):
        for oid, stream in Batch.unpack(row.objects):
            name = tag_name(stream)
            if name is not None and store.read_ref(branch.store, f"refs/tags/{name}") is None:
                store.write_ref(branch.store, f"refs/tags/{name}", oid.hex())
                restored = True
    return restored
