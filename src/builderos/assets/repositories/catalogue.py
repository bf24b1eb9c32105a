"""Repositories as a list, new ones, and dev branches."""

from datetime import datetime
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field, StringConstraints

from builderos.core.ids import new_id
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.schema import In, Line, Out, WriteIn
from builderos.core.unit import Unit
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource

from . import durable
from .branches import add_branch, branch_facts, create_store, list_branches, main_branch, repository_by_id
from .commits import Person, encode_commit
from .imports import RepoLabel, RepositoryOut, enrol, ensure_free, facts
from .model import repositories
from .objects import Batch, write_loose
from .schema import MAIN
from .store import RepositoryStore
from .trees import Edit, edit_tree

DevName = Annotated[str, StringConstraints(pattern=r"^dev(-[a-z0-9]+)*$", max_length=60)]


class RepoIn(In):
    """Which repository."""

    id: Line


class RepoListIn(In):
    """Page of the list."""

    project_id: Annotated[Line | None, Field(description="Of this project alone.")] = None
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class RepoLine(Out):
    """A repository in a list."""

    id: str
    repo_owner: str
    repo_name: str
    base_branch: str
    project_id: str | None
    created_at: datetime


class RepoList(Out):
    """One page by id."""

    items: list[RepoLine]
    next_cursor: str | None


class BranchLine(Out):
    """A shared branch of a repository."""

    id: str
    name: str
    kind: str
    head_sha: str
    state: str


class RepoDetail(RepoLine):
    """A repository with its shared branches (sandboxes are listed by listSandboxes)."""

    source: str | None
    upstream_branch: str | None
    branches: list[BranchLine]


class RepoCreateIn(WriteIn):
    """How the new repository is called."""

    name: RepoLabel
    owner: RepoLabel | None = None


class DevBranchIn(WriteIn):
    """A branch for a team: written by API keys, or by promotion."""

    id: Line
    branch: Annotated[DevName, Field(description="dev, or dev-something.")]


def listed(unit: Unit, body: RepoListIn) -> RepoList:
    """Repositories of the organisation."""
    policy.require(unit, "org.read", policy.org_resource(unit))
    c = repositories.c
    key = list_key("repos", project=body.project_id)
    last = decode_cursor(key, body.cursor)
    wanted = sa.select(repositories).where(c.deleted_at.is_(None)).order_by(c.id).limit(body.limit + 1)
    if last is not None:
        wanted = wanted.where(c.id > str(last[0]))
    if body.project_id is not None:
        wanted = wanted.where(c.project_id == body.project_id)
    rows = unit.execute(wanted).all()
    items = [RepoLine(**_line(r)) for r in rows[: body.limit]]
    more = len(rows) > body.limit
    return RepoList(items=items, next_cursor=encode_cursor(key, [items[-1].id]) if more else None)


def _line(row: sa.Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id, "repo_owner": row.owner, "repo_name": row.name, "base_branch": row.base_branch,
        "project_id": row.project_id, "created_at": row.created_at,
    }  # fmt: skip


def show(unit: Unit, body: RepoIn) -> RepoDetail:
    """One repository with its shared branches."""
    row = unit.execute(sa.select(repositories).where(repositories.c.id == body.id)).one_or_none()
    if row is None:
        raise Problem("not_found", "there is no such repository", hint="List the repositories first.")
    resource = Resource(kind="repo", id=row.id, org_id=unit.org_id, repo_id=row.id, project=row.name)
    policy.require(unit, "repo.read", resource)
    shared = list_branches(unit, row.id, shared=True)
    lines = [BranchLine(id=b.id, name=b.name, kind=b.kind, head_sha=b.tip, state=b.state) for b in shared]
    return RepoDetail(**_line(row), source=row.source, upstream_branch=row.upstream_branch, branches=lines)


def create(unit: Unit, body: RepoCreateIn) -> RepositoryOut:
    """A new repository with one commit: a README."""
    repo_id = new_id("repo")
    resource = Resource(kind="repo", id=repo_id, org_id=unit.org_id, repo_id=repo_id, project=body.name)
    decision = policy.require(unit, "repo.import", resource)
    owner = body.owner or identity.org_slug(unit)
    ensure_free(unit, owner, body.name)
    batch = Batch(_Nothing())
    batch.put("tree", b"")
    tree = edit_tree(batch, None, {"README.md": Edit(batch.put("blob", f"# {body.name}\n".encode()))})
    who = Person("builderos", "builderos@builderos.invalid")
    head = batch.put("commit", encode_commit(tree, [], who, who, unit.now, "Begin")).hex()
    repo = enrol(unit, repo_id, owner, body.name, head_sha=head)
    store, objects = unit.get(RepositoryStore), batch.pack()
    folder = store.base_folder(unit.org_id, repo_id)
    store.create(folder, head=f"refs/heads/{MAIN}", refs={f"refs/heads/{MAIN}": head}, alternates=None)
    for oid, stream in Batch.unpack(objects):
        write_loose(store.path(folder) / "objects", oid, stream)
    durable.sync_filesystem(
        store.root
    )  # no journal holds these objects: they must be on disk before the row is
    ledger.record(unit, "repo.created", repo_id, {**facts(repo), "head": head}, rules=decision.rules)
    return RepositoryOut(
        id=repo_id, repo_owner=owner, repo_name=body.name, branch=MAIN, base_branch=unit.settings.base_branch,
        head_sha=head,
        message=f"{body.name} is ready.",
    )  # fmt: skip


class _Nothing:
    """A reader without objects."""

    def read(self, oid: Any, /) -> tuple[int, bytes]:
        """Always a KeyError."""
        raise KeyError(oid)


def add_dev_branch(unit: Unit, body: DevBranchIn) -> BranchLine:
    """A dev branch from main's tip, in a store of its own."""
    repo = repository_by_id(unit, body.id)
    resource = Resource(
        kind="repo", id=repo.id, org_id=unit.org_id, repo_id=repo.id, project=repo.name, branch=body.branch
    )
    decision = policy.require(unit, "repo.protect", resource)
    main = main_branch(unit, repo.id)
    branch = add_branch(unit, repo, body.branch, "dev", tip=main.tip, base_sha=main.tip)
    ledger.record(unit, "branch.created", branch.id, branch_facts(branch), rules=decision.rules)
    unit.after_commit(lambda: create_store(unit, branch, main))
    return BranchLine(id=branch.id, name=branch.name, kind="dev", head_sha=branch.tip, state="active")
