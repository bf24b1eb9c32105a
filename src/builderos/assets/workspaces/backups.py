"""Backups: a commit that is pinned by a ref of its own, so that nothing can take it away before its time."""

import hashlib
import json
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import sqlalchemy as sa
from pydantic import Field

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import Branch
from builderos.assets.repositories.service import Batch, Edit, RepositoryStore, edit_tree, walk
from builderos.core.clock import rfc3339
from builderos.core.ids import new_id
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.schema import Line, Out, ToolOut
from builderos.core.unit import Unit
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource

from . import delivery
from .content import TreeFiles, batch_of, tree_of
from .layout import layout_of
from .model import backups
from .places import BranchIn, BranchWriteIn, Place, branch_resource, locate, sandbox_id_of
from .undo import bring_to

MAX_LISTED: Final = 1000
Scope = Literal["key_files", "branch"]
Kind = Literal["manual", "daily", "weekly", "automatic"]


class BackupIn(BranchWriteIn):
    """What to keep."""

    scope: Annotated[
        Scope, Field(description="key_files: tasks, memory, changelog, goals. branch: everything.")
    ] = "branch"


class BackupOut(ToolOut):
    """A backup. `sha256` is over the canonical JSON list of [path, mode, blob id] of its files."""

    backup_id: str
    ref: str
    files: list[str]
    file_count: int
    sha256: str
    commit_sha: str


class BackupListIn(BranchIn):
    """Backups of one branch."""

    limit: Annotated[int, Field(description="Backups per page.", ge=1, le=200)] = 50
    cursor: Annotated[str | None, Field(description="next_cursor of the page before.", max_length=1000)] = (
        None
    )


class BackupLine(Out):
    """A backup in a list."""

    backup_id: str
    kind: Kind
    scope: Scope
    ref: str
    commit_sha: str
    sha256: str
    created_at: datetime


class BackupListOut(ToolOut):
    """One page, newest first."""

    items: list[BackupLine]
    next_cursor: str | None


class RestoreIn(BranchWriteIn):
    """Which backup to bring back into its branch."""

    id: Annotated[Line, Field(description="backup_id of createBackup or listBackups.")]


class RestoreOut(ToolOut):
    """The commit that brought the backup back; null when the branch had these files already."""

    backup_id: str
    commit_sha: str | None
    restored_files: int


def create(unit: Unit, body: BackupIn) -> BackupOut:
    """Keep the branch, or its key files, as they are now."""
    place = locate(unit, body, "backup.create", lock=True)
    return keep(unit, place.branch, body.scope, "manual", rules=place.rules)


def keep(
    unit: Unit, branch: Branch, scope: Scope, kind: Kind, *, rules: tuple[str, ...] = (),
    expires_at: datetime | None = None, ref: str | None = None,
) -> BackupOut:  # fmt: skip
    """Record a backup of the branch's tip and pin it after the commit, at `ref` or a hidden one of its own."""
    files = contents(unit, branch, scope, branch.tip)
    manifest = json.dumps(files, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogateescape")
    digest = hashlib.sha256(manifest).hexdigest()
    id_ = new_id("bak")
    ref = ref or f"refs/bos/backup/{id_}"
    listed = [path for path, _, _ in files[:MAX_LISTED]]
    unit.execute(
        sa.insert(backups).values(
            id=id_, org_id=unit.org_id, repo_id=branch.repo_id, branch_id=branch.id, kind=kind, scope=scope, ref=ref,
            commit_sha=branch.tip, files=listed, sha256=digest, created_by=unit.actor.id, created_at=unit.now,
            expires_at=expires_at,
        )
    )  # fmt: skip
    payload = {
        "branch": branch.name, "branch_id": branch.id, "repo": branch.repo_name, "commit": branch.tip, "kind": kind,
        "scope": scope, "sha256": digest, "ref": ref, "expires_at": rfc3339(expires_at) if expires_at else None,
    }  # fmt: skip
    ledger.record(unit, "backup.created", id_, payload, rules=rules)
    store = unit.get(RepositoryStore)
    unit.after_commit(lambda: store.write_ref(branch.store, ref, branch.tip))
    return BackupOut(
        backup_id=id_, ref=ref, files=listed, file_count=len(files), sha256=digest, commit_sha=branch.tip,
        repo_name=branch.repo_name, branch=branch.name,
        message=f"Backed up {len(files)} files of branch {branch.name} of {branch.repo_name} as {id_}.",
    )  # fmt: skip


def contents(unit: Unit, branch: Branch, scope: Scope, commit: str) -> list[tuple[str, int, str]]:
    """Path, mode and blob id of everything that a backup of this commit keeps. Raises `KeyError` where it is gone."""
    batch = batch_of(unit, branch)
    tree = TreeFiles(batch, tree_of(batch, commit))
    layout = layout_of(tree)
    files = ((path, mode, oid.hex()) for path, mode, oid in walk(batch, tree.tree))
    return [f for f in files if scope == "branch" or is_key_file(f[0], layout)]


def is_key_file(path: str, layout: delivery.Layout) -> bool:
    """Whether a path is one of the files that tell a project's story."""
    return delivery.is_exempt(path, layout) or path in (layout.goals, delivery.CONFIG)


def listed(unit: Unit, body: BackupListIn) -> BackupListOut:
    """Backups of a branch, newest first; a deleted branch still has its backups."""
    place = locate_any(unit, body, "backup.list")
    key = list_key("backups", branch=place.branch.id)
    last = decode_cursor(key, body.cursor)
    c = backups.c
    wanted = (
        sa.select(backups).where(c.branch_id == place.branch.id).order_by(c.id.desc()).limit(body.limit + 1)
    )
    if last is not None:
        wanted = wanted.where(c.id < str(last[0]))
    rows = unit.execute(wanted).all()
    items = [
        BackupLine(backup_id=r.id, kind=r.kind, scope=r.scope, ref=r.ref, commit_sha=r.commit_sha, sha256=r.sha256,
                   created_at=r.created_at)
        for r in rows[: body.limit]
    ]  # fmt: skip
    more = len(rows) > body.limit
    return BackupListOut(
        items=items, next_cursor=encode_cursor(key, [items[-1].backup_id]) if more else None, repo_name=place.repo_name,
        branch=place.branch.name, message=f"{len(items)} backups of branch {place.branch.name} of {place.repo_name}.",
    )  # fmt: skip


def locate_any(unit: Unit, body: BranchIn, action: policy.Action) -> Place:
    """Like `locate`, but a deleted branch is found, too."""
    try:
        return locate(unit, body, action)
    except Problem as problem:
        if problem.code != "not_found" or unit.actor.repo_id is None or unit.actor.branch is None:
            raise
        branch = repositories.find_branch(unit, unit.actor.repo_id, unit.actor.branch)
        if branch is None or branch.state != "deleted" or body.branch not in (None, branch.name):
            raise
        return Place(branch, policy.require(unit, action, branch_resource(unit, branch)).rules)


def restore(unit: Unit, body: RestoreIn) -> RestoreOut:
    """Bring a backup's files back in one new commit; the changelog keeps the entries of both."""
    place = locate(unit, body, "files.write", lock=True)
    row = _find(unit, body.id, place.branch.id)
    resource = Resource(
        kind="backup",
        id=row.id,
        org_id=unit.org_id,
        repo_id=row.repo_id,
        sandbox_id=sandbox_id_of(place.branch),
        project=place.repo_name,
        branch=place.branch.name,
    )
    policy.require(unit, "backup.restore", resource)
    batch = batch_of(unit, place.branch)
    details = {"backup_id": row.id}
    written = bring_to(
        unit, place, batch, _target(batch, place, row), message=f"Restore backup {row.id}", event="restore",
        details=details,
    )  # fmt: skip
    count = written.stat.files if written else 0
    return RestoreOut(
        backup_id=row.id, commit_sha=written.sha if written else None, restored_files=count, repo_name=place.repo_name,
        branch=place.branch.name,
        message=f"Restored {count} files on branch {place.branch.name} of {place.repo_name} from backup {row.id}.",
    )  # fmt: skip


def _find(unit: Unit, backup_id: str, branch_id: str) -> sa.Row[Any]:
    """A backup of this branch; one of another branch is told like one that is not there."""
    wanted = sa.select(backups).where(backups.c.id == backup_id, backups.c.branch_id == branch_id)
    row = unit.execute(wanted).one_or_none()
    if row is None:
        raise Problem(
            "not_found",
            "there is no such backup of this branch",
            hint="listBackups shows the ones of this branch.",
        )
    return row


def _target(batch: Batch, place: Place, row: sa.Row[Any]) -> bytes:
    """The tree to restore: the backup's own, or today's files with the backup's key files."""
    kept = tree_of(batch, row.commit_sha)
    if row.scope == "branch":
        return kept
    tip = TreeFiles(batch, tree_of(batch, place.branch.tip))
    layout = layout_of(tip)
    edits = {path: Edit(oid, mode) for path, mode, oid in walk(batch, kept) if is_key_file(path, layout)}
    return edit_tree(batch, tip.tree, edits)


def restorable(unit: Unit, branch_id: str) -> list[str]:
    """Ids of a branch's backups, newest first."""
    wanted = (
        sa.select(backups.c.id)
        .where(backups.c.branch_id == branch_id)
        .order_by(backups.c.id.desc())
        .limit(50)
    )
    return list(unit.execute(wanted).scalars())
