"""Rows of repositories and branches, written again from what the record tells. Rows that are there stay as they are."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.core.unit import Unit

from .branches import branch_by_id
from .journal import ready, unborn
from .model import branches, pending_delivery, repositories
from .store import RepositoryStore

_SHARED: Final = frozenset({"main", "base", "backup"})  # branches that lie in the repository's base store


@dataclass
class LostRepository:
    """A repository as the record tells of it; the fields are those of its row."""

    id: str
    owner: str
    name: str
    base_branch: str
    reserved_names: list[str]
    created_at: datetime
    source: str | None = None
    upstream_branch: str | None = None
    project_id: str | None = None
    host: str = "local"


@dataclass
class LostBranch:
    """A branch as the record tells of it; the fields are those of its row."""

    id: str
    repo_id: str
    name: str
    kind: str
    tip: str
    base_sha: str
    created_at: datetime
    moved_at: datetime
    commits: int = 0
    files: int = 0
    pending: int = 0
    state: str = "active"


def known(unit: Unit) -> tuple[set[str], set[str]]:
    """Ids of the repositories and of the branches that have rows."""
    return (
        set(unit.execute(sa.select(repositories.c.id)).scalars()),
        set(unit.execute(sa.select(branches.c.id)).scalars()),
    )


def restore_repository(unit: Unit, lost: LostRepository) -> None:
    """Write its row, unless it is there."""
    unit.execute(insert(repositories).values(org_id=unit.org_id, **asdict(lost)).on_conflict_do_nothing())


def restore_branch(unit: Unit, lost: LostBranch) -> None:
    """Write its row, unless it is there, and see that its files hold its last commit.

    Raises `unavailable` where neither files nor journal have it.
    """
    in_base = lost.kind in _SHARED
    folder = (
        RepositoryStore.base_folder(unit.org_id, lost.repo_id)
        if in_base
        else RepositoryStore.branch_folder(unit.org_id, lost.repo_id, lost.id)
    )
    unit.execute(
        insert(branches).values(org_id=unit.org_id, store=folder, **asdict(lost)).on_conflict_do_nothing()
    )
    unit.get(RepositoryStore).forget(folder)  # an open handle remembers objects whose files are gone
    branch = branch_by_id(unit, lost.id)
    if branch.state != "deleted" and not unborn(unit.get(RepositoryStore), branch):
        ready(unit, branch)


def restore_pending(
    unit: Unit, branch_id: str, rows: list[tuple[str, dict[str, Any], list[dict[str, Any]]]]
) -> None:
    """What pushes left to write, as (commit, entry, memory items), unless some of it is there."""
    c = pending_delivery.c
    if unit.execute(sa.select(c.id).where(c.branch_id == branch_id).limit(1)).first() is not None:
        return
    for sha, entry, memory in rows:
        unit.execute(
            sa.insert(pending_delivery).values(
                org_id=unit.org_id, branch_id=branch_id, commit_sha=sha, entry=entry, memory=memory
            )
        )
