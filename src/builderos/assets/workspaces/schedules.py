"""What the server does by itself for each organisation: daily backups of main, weekly exports, old ones removed.

Every function is safe to repeat: the day or the week is in the name of what it makes.
"""

import json
import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import Branch
from builderos.assets.repositories.service import RepositoryStore
from builderos.core.clock import rfc3339, utcnow
from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.files import replace_text
from builderos.core.home import EXPORTS
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.core.unit import Unit, as_system
from builderos.trust.ledger import service as ledger
from builderos.trust.notices import service as notices
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource
from builderos.trust.vault import service as vault

from . import backups, delivery
from .content import TreeFiles, batch_of, tree_of
from .layout import layout_of
from .model import backups as backup_rows
from .places import branch_resource

log = logging.getLogger("builderos.workspaces")
DAILY: Final = "backup/"


def back_up_daily(context: Context, org_id: str) -> int:
    """Keep today's main of every repository as `backup/YYYY-MM-DD` and remove old ones; returns how many were made.

    Raises `Problem` where one failed, after the others had their turn; each failure is an alert, too.
    """
    return _each_repository(context, org_id, _back_up)


def _back_up(context: Context, org_id: str, repo_id: str) -> int:
    made = as_system(context, org_id, lambda unit: back_up_main(unit, repo_id))
    for backup_id in as_system(context, org_id, lambda unit: superfluous(unit, repo_id), read_only=True):
        as_system(context, org_id, lambda unit, id_=backup_id: remove_backup(unit, id_))
    return made


def back_up_main(unit: Unit, repo_id: str) -> bool:
    """Keep main as the write-protected branch of today (UTC); False where it is kept already."""
    repo = repositories.repository_by_id(unit, repo_id)
    name = f"{DAILY}{unit.now:%Y-%m-%d}"
    if repositories.find_branch(unit, repo_id, name) is not None:
        return False
    main = repositories.main_branch(unit, repo_id)
    decision = policy.require(unit, "backup.create", branch_resource(unit, main))
    try:
        branch = repositories.add_branch(
            unit, repo, name, "backup", tip=main.tip, base_sha=main.tip, in_base=True
        )
    except Problem as taken:
        if taken.code != "conflict":
            raise
        return False  # another process was faster
    backups.keep(unit, main, "branch", "daily", ref=branch.ref, rules=decision.rules)
    ledger.record(unit, "branch.created", branch.id, repositories.branch_facts(branch), rules=decision.rules)
    return True


def superfluous(unit: Unit, repo_id: str) -> list[str]:
    """Ids of backups whose time is over: dated ones by their own date, daily ones by the number that is kept."""
    c = backup_rows.c
    dated = sa.select(c.id).where(c.repo_id == repo_id, c.expires_at <= unit.now)
    daily = (
        sa.select(c.id, c.created_at)
        .where(c.repo_id == repo_id, c.kind == "daily")
        .order_by(c.created_at.desc())
    )
    rows = [(row.id, row.created_at) for row in unit.execute(daily)]
    kept = retained(rows, unit.settings.backup_daily, unit.settings.backup_monthly)
    return [*unit.execute(dated).scalars(), *(id_ for id_, _ in rows if id_ not in kept)]


def retained(newest_first: Iterable[tuple[str, datetime]], daily: int, monthly: int) -> set[str]:
    """Which backups stay: the newest `daily`, and the first one of each of the newest `monthly` months."""
    rows = list(newest_first)
    firsts = {
        f"{at:%Y-%m}": id_ for id_, at in rows
    }  # later ones in the list are older: the oldest of a month wins
    months = sorted(firsts, reverse=True)[:monthly]
    return {id_ for id_, _ in rows[:daily]} | {firsts[month] for month in months}


def remove_backup(unit: Unit, backup_id: str) -> None:
    """Forget a backup: its row, its branch where it has one, its ref. Objects stay where they are."""
    row = unit.execute(sa.select(backup_rows).where(backup_rows.c.id == backup_id)).one_or_none()
    if row is None:
        return
    source = repositories.branch_by_id(unit, row.branch_id)
    shown = branch_resource(unit, source)
    resource = Resource(
        kind="backup", id=row.id, org_id=unit.org_id, repo_id=row.repo_id, sandbox_id=shown.sandbox_id,
        default_write=shown.default_write,
    )  # fmt: skip
    decision = policy.require(unit, "backup.delete", resource)
    kept_as = repositories.find_branch(unit, row.repo_id, row.ref.removeprefix("refs/heads/"))
    if kept_as is not None and kept_as.kind == "backup":
        repositories.set_branch(unit, kept_as.id, state="deleted")
    unit.execute(sa.delete(backup_rows).where(backup_rows.c.id == row.id))
    ledger.record(
        unit, "backup.removed", row.id, {"ref": row.ref, "commit": row.commit_sha}, rules=decision.rules
    )
    store = unit.get(RepositoryStore)
    unit.after_commit(lambda: store.delete_ref(source.store, row.ref))


def sign_ledger(context: Context, org_id: str) -> int:
    """Put everything recorded so far under a signed checkpoint; returns how many lines that are.

    A record that was altered is not signed: it raises the alert `ledger_altered`, and `Problem`.
    """
    try:
        return ledger.extend_all(context, org_id)
    except ledger.Altered as altered:
        detail = {"detail": altered.detail, **altered.extra}
        as_system(context, org_id, lambda unit: notices.raise_alert(unit, "ledger_altered", org_id, detail))
        raise


def settle_backups(context: Context, since: datetime | None = None) -> int:
    """Give backups made since then the refs that a killed process did not write; returns how many lacked theirs."""
    restored = 0
    for org_id in context.get(Database).organisations("settle"):
        restored += as_system(context, org_id, lambda unit: _settle_backups(unit, since), read_only=True)
    return restored


def _settle_backups(unit: Unit, since: datetime | None) -> int:
    lacking = backups_without_ref(unit, since)
    for branch, ref, sha in lacking:
        repositories.ready(unit, branch)
        unit.get(RepositoryStore).write_ref(branch.store, ref, sha)
    return len(lacking)


def backups_without_ref(unit: Unit, since: datetime | None = None) -> list[tuple[Branch, str, str]]:
    """Backups (made since then) that nothing pins on disk: their branch, the ref they should have, their commit."""
    c, store = backup_rows.c, unit.get(RepositoryStore)
    wanted = sa.select(c.branch_id, c.ref, c.commit_sha).order_by(c.id)
    found: list[tuple[Branch, str, str]] = []
    for row in unit.execute(wanted if since is None else wanted.where(c.created_at >= since)).all():
        branch = repositories.branch_by_id(unit, row.branch_id)
        if store.exists(branch.store) and store.read_ref(branch.store, row.ref) != row.commit_sha:
            found.append((branch, row.ref, row.commit_sha))
    return found


# ---------------------------------------------------------------- exports


def export_weekly(context: Context, org_id: str) -> int:
    """Write memory and changelog of every main to `<home>/exports/<org>/<repo>/<date>.json`; returns how many files.

    One file per ISO week; the newest `exports_weekly` are kept. Raises `Problem` where one failed, after the others.
    """
    return _each_repository(context, org_id, _export)


def _export(context: Context, org_id: str, repo_id: str) -> int:
    settings, today = context.get(Settings), utcnow().date()
    folder = settings.home_dir / EXPORTS / org_id / repo_id
    there = sorted(folder.glob("*.json"), reverse=True)
    if any(_week(path) == today.isocalendar()[:2] for path in there):
        return 0
    story = as_system(
        context, org_id, lambda unit: vault.clean(unit, story_of(unit, repo_id)), read_only=True
    )
    replace_text(folder / f"{today}.json", json.dumps(story, ensure_ascii=False, indent=1, default=str))
    for old in there[settings.exports_weekly - 1 :]:
        old.unlink(missing_ok=True)
    return 1


def _week(path: Path) -> tuple[int, int] | None:
    try:
        return datetime.strptime(path.stem, "%Y-%m-%d").isocalendar()[:2]  # noqa: DTZ007  # a date, of no zone
    except ValueError:  # a file that somebody else put there
        return None


def story_of(unit: Unit, repo_id: str) -> dict[str, Any]:
    """Memory and changelog of a repository's main, as data."""
    main = repositories.main_branch(unit, repo_id)
    batch = batch_of(unit, main)
    files = TreeFiles(batch, tree_of(batch, main.tip))
    layout = layout_of(files)
    return {
        "version": 1, "repo_id": repo_id, "repo_name": main.repo_name, "branch": main.name, "head_sha": main.tip,
        "exported_at": rfc3339(unit.now), "changelog": list(delivery.changelog.entries(files, layout)),
        "memory": list(delivery.memory.every(files, layout).values()),
    }  # fmt: skip


def _each_repository(context: Context, org_id: str, act: Callable[[Context, str, str], int]) -> int:
    """Do it for every repository, whatever becomes of the others. Raises the last `Problem`."""
    done, failed = 0, None
    for repo_id in as_system(context, org_id, repositories.repository_ids, read_only=True):
        try:
            done += act(context, org_id, repo_id)
        except Problem as problem:
            failed = problem
            detail = {"what": act.__name__.strip("_"), "problem": problem.detail}
            as_system(
                context, org_id,
                lambda unit, id_=repo_id, d=detail: notices.raise_alert(unit, "backup_failed", id_, d),
            )  # fmt: skip
    if failed is not None:
        raise failed
    return done
