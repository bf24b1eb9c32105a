"""Find, create and list repositories and branches."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.core.unit import Unit

from .model import branches, pending_delivery, repositories
from .schema import MAIN, Branch, BranchKind, Repository
from .store import RepositoryStore


def branch_columns() -> sa.Select[*tuple[Any, ...]]:
    """The columns of `Branch`, joined with the repository's name and host."""
    c = branches.c
    return sa.select(
        c.id, c.repo_id, repositories.c.name.label("repo_name"), repositories.c.host, c.name, c.kind, c.store, c.tip,
        c.base_sha, c.commits, c.files, c.pending, c.state,
    ).select_from(branches.join(repositories, c.repo_id == repositories.c.id))  # fmt: skip


def to_branch(row: sa.Row[Any]) -> Branch:
    """A row of `branch_columns` as a `Branch`."""
    return Branch(*row)


def find_repository(unit: Unit, name: str, owner: str | None = None) -> Repository:
    """The repository of this name; raises `not_found`, or `conflict` when the name alone is ambiguous."""
    wanted = _repository_columns().where(repositories.c.name == name, repositories.c.deleted_at.is_(None))
    if owner is not None:
        wanted = wanted.where(repositories.c.owner == owner)
    return the_one([Repository(*row) for row in unit.execute(wanted.limit(2))], name)


def the_one(found: list[Repository], name: str) -> Repository:
    """The only repository found for a name; raises as `find_repository` does."""
    if not found:
        raise Problem(
            "not_found",
            f"there is no repository {name!r} here",
            hint="Check repo_name; listActions shows what you may use.",
        )
    if len(found) > 1:
        raise Problem(
            "conflict", f"several repositories are called {name!r}", hint="Name the owner too (repo_owner)."
        )
    return found[0]


def repository_by_id(unit: Unit, repo_id: str) -> Repository:
    """The repository with this id; raises `not_found`."""
    row = unit.execute(_repository_columns().where(repositories.c.id == repo_id)).one_or_none()
    if row is None:
        raise Problem("not_found", "there is no such repository")
    return Repository(*row)


def id_of(unit: Unit, name: str) -> tuple[str, str]:
    """Id and name of a repository; raises like `find_repository`."""
    found = find_repository(unit, name)
    return found.id, found.name


def repository_names(unit: Unit) -> dict[str, str]:
    """Id → name of the organisation's repositories, those that are gone, too."""
    return {row.id: row.name for row in unit.execute(sa.select(repositories.c.id, repositories.c.name))}


def repository_ids(unit: Unit) -> list[str]:
    """Ids of the organisation's repositories, oldest first."""
    wanted = (
        sa.select(repositories.c.id).where(repositories.c.deleted_at.is_(None)).order_by(repositories.c.id)
    )
    return list(unit.execute(wanted).scalars())


def _repository_columns() -> sa.Select[*tuple[Any, ...]]:
    c = repositories.c
    return sa.select(c.id, c.owner, c.name, c.base_branch, c.reserved_names, c.host)


def find_branch(unit: Unit, repo_id: str, name: str, *, lock: bool = False) -> Branch | None:
    """The branch of this name, deleted and archived ones included; `lock` holds it until the unit ends."""
    rows = unit.ask("ops.branch", repo_id, name, lock)
    return Branch(*rows[0]) if rows else None


def branch_by_id(unit: Unit, branch_id: str, *, lock: bool = False) -> Branch:
    """The branch with this id; raises `not_found`."""
    rows = unit.ask("ops.branch_by_id", branch_id, lock)
    if not rows:
        raise Problem("not_found", "there is no such branch")
    return Branch(*rows[0])


def add_branch(
    unit: Unit, repo: Repository, name: str, kind: BranchKind, *, tip: str, base_sha: str, branch_id: str | None = None,
    in_base: bool = False, seen_free: bool = False,
) -> Branch:  # fmt: skip
    """Insert a branch row; its store is made by the first who opens it (`ready`). Raises `conflict` if
    taken (where this unit has seen the name free, `opening`, the unit starts over instead), `storage_full`.
    """
    unit.get(RepositoryStore).require_room(unit.settings.disk_reserve)
    id_ = branch_id or new_id("br")
    folder = (
        RepositoryStore.base_folder(unit.org_id, repo.id)
        if in_base
        else RepositoryStore.branch_folder(unit.org_id, repo.id, id_)
    )
    values: dict[str, Any] = {
        "id": id_, "org_id": unit.org_id, "repo_id": repo.id, "name": name, "kind": kind, "store": folder, "tip": tip,
        "base_sha": base_sha, "commits": 0, "files": 0, "pending": 0, "state": "active", "created_at": unit.now,
        "moved_at": unit.now,
    }  # fmt: skip
    if seen_free:
        unit.add(branches, **values)
    elif not _insert_if_free(unit, values):
        raise Problem("conflict", f"the branch {name} exists already", hint="Choose another name.")
    return Branch(id_, repo.id, repo.name, repo.host, name, kind, folder, tip, base_sha, 0, 0, 0, "active")


def main_id_of(repo_id: str) -> str:
    """The id of a repository's main: they share the random part."""
    return "br_" + repo_id.removeprefix("repo_")


def branch_facts(branch: Branch) -> dict[str, Any]:
    """What the record keeps of a new branch: enough to write its row again."""
    return {
        "repo": branch.repo_name, "repo_id": branch.repo_id, "branch": branch.name, "kind": branch.kind,
        "head": branch.tip,
    }  # fmt: skip


def _insert_if_free(unit: Unit, values: dict[str, Any]) -> bool:
    statement = insert(branches).values(**values).on_conflict_do_nothing(index_elements=["repo_id", "name"])
    return unit.execute(statement.returning(branches.c.id)).first() is not None


def create_store(unit: Unit, branch: Branch, main: Branch) -> None:
    """Create the branch's own store over the base, now and idempotently."""
    unit.get(RepositoryStore).create(
        branch.store,
        head=branch.ref,
        refs={branch.ref: branch.tip, main.ref: main.tip},
        alternates=main.store,
    )


def main_branch(unit: Unit, repo_id: str, *, lock: bool = False) -> Branch:
    """The repository's `main`."""
    found = find_branch(unit, repo_id, MAIN, lock=lock)
    if found is None:
        raise Problem("not_found", "this repository has no main branch")
    return found


def set_branch(unit: Unit, branch_id: str, **values: Any) -> None:
    """Change columns of a branch that are not its tip."""
    if "tip" in values:
        raise ValueError("a tip moves through the journal alone")
    unit.execute(sa.update(branches).where(branches.c.id == branch_id).values(**values))


def list_branches(
    unit: Unit, repo_id: str, *, kind: BranchKind | None = None, shared: bool = False
) -> list[Branch]:
    """Branches of a repository by name: of one kind, or all that are no sandbox (those are few)."""
    wanted = branch_columns().where(branches.c.repo_id == repo_id).order_by(branches.c.name)
    if kind is not None:
        wanted = wanted.where(branches.c.kind == kind)
    if shared:
        wanted = wanted.where(branches.c.kind != "sandbox")
    return [to_branch(row) for row in unit.execute(wanted)]


def reset_branch(unit: Unit, branch: Branch, tip: str) -> None:
    """Bring a deleted branch back to life at `tip`, a commit that every store of the repository can read."""
    unit.execute(
        sa.update(branches)
        .where(branches.c.id == branch.id, branches.c.state == "deleted")
        .values(tip=tip, base_sha=tip, commits=0, files=0, pending=0, state="active", moved_at=unit.now)
    )
    unit.execute(sa.delete(pending_delivery).where(pending_delivery.c.branch_id == branch.id))
    store = unit.get(RepositoryStore)
    unit.after_commit(lambda: store.write_ref(branch.store, branch.ref, tip))


def written_since(
    branch_id: sa.ColumnElement[str], since: sa.ColumnElement[datetime]
) -> sa.ScalarSelect[Any]:
    """For a statement over another room's table: when the branch moved after `since`; null where it did not."""
    c = branches.c
    return sa.select(c.moved_at).where(c.id == branch_id, c.moved_at > since, c.commits > 0).scalar_subquery()
