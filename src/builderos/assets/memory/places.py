"""Whose memory is meant, and whether the actor may read or change it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import Branch
from builderos.assets.workspaces.service import BranchIn, BranchWriteIn, branch_resource, locate
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource

from .model import memory_items


@dataclass(frozen=True)
class Scope:
    """Whose memory: of a repository, one of its branches, an agent, a run; the organisation is the unit's own.

    Seen from here are the branch's own items and, with `shared`, those of the whole repository; of them the agent's own
    and those of all agents; of short_term those of the run alone. None: only what belongs to everybody there.
    """

    repo_id: str
    branch_id: str | None = None
    agent: str | None = None
    run_id: str | None = None
    shared: bool = True

    @property
    def branches(self) -> list[str]:
        """Values of `branch_id` that are seen."""
        own = [self.branch_id] if self.branch_id else []
        return [*own, ""] if self.shared else own

    @property
    def agents(self) -> list[str]:
        """Values of `agent` that are seen."""
        return ["", *([self.agent] if self.agent else [])]


def seen(scope: Scope) -> list[sa.ColumnElement[bool]]:
    """The conditions under which an item is seen from a scope."""
    c = memory_items.c
    return [
        c.repo_id == scope.repo_id, c.branch_id.in_(scope.branches), c.agent.in_(scope.agents),
        c.run_id.in_(["", scope.run_id or ""]),
    ]  # fmt: skip


def reading(
    unit: Unit, body: BranchIn | BranchWriteIn, agent: str | None, run_id: str | None
) -> tuple[Branch, Scope, tuple[str, ...]]:
    """The scope that a caller may read, with the rules that say so. Raises as `locate`."""
    place = locate(unit, body, "memory.read")
    branch = place.branch
    return branch, Scope(branch.repo_id, branch.id, agent, run_id, reads_main(unit, branch)), place.rules


def reads_main(unit: Unit, branch: Branch) -> bool:
    """Whether the actor may know what the whole repository remembers: whoever may read main may."""
    main = repositories.branch_by_id(unit, repositories.main_id_of(branch.repo_id))
    return policy.decide(unit, "memory.read", branch_resource(unit, main)).verdict == "allow"


def repo_resource(unit: Unit, repo_id: str, name: str | None = None) -> Resource:
    """A repository as the policy sees it."""
    return Resource(kind="repo", id=repo_id, org_id=unit.org_id, repo_id=repo_id, project=name)


def writing(unit: Unit, body: BranchWriteIn, *, shared: bool) -> tuple[Branch, tuple[str, ...]]:
    """The branch whose memory a caller may change, or with `shared` that of its repository. Raises as `locate`."""
    if not shared:
        place = locate(unit, body, "memory.write")
        return place.branch, place.rules
    place = locate(unit, body, "memory.read")
    resource = repo_resource(unit, place.branch.repo_id, place.repo_name)
    return place.branch, policy.require(unit, "memory.share", resource).rules


def row_of(unit: Unit, id_: str, *, write: bool, gone: bool = False) -> tuple[sa.Row[Any], tuple[str, ...]]:
    """An item that the actor may read or change, with the rules that say so.

    Raises `not_found`, the same for what is not there and for what the credential may not know of.
    """
    wanted = sa.select(memory_items).where(memory_items.c.id == id_)
    if unit.actor.repo_id is not None:
        wanted = wanted.where(memory_items.c.repo_id == unit.actor.repo_id)
    row = unit.execute(wanted.with_for_update() if write else wanted).one_or_none()
    if row is None:
        raise unknown()
    try:
        rules = _asked(unit, row, write=write)
    except policy.Refused as refused:
        if _may_know(unit, row):
            raise
        raise unknown() from refused
    if not gone and not alive(unit, row._mapping):  # pyright: ignore[reportPrivateUsage]
        raise unknown()
    return row, rules


def alive(unit: Unit, row: Mapping[Any, Any]) -> bool:
    """Whether an item is remembered now."""
    ends = row["expires_at"]
    return row["deleted_at"] is None and (row["pinned"] or ends is None or ends > unit.now)


def living(unit: Unit) -> list[sa.ColumnElement[bool]]:
    """The same as conditions."""
    c = memory_items.c
    return [c.deleted_at.is_(None), sa.or_(c.pinned, c.expires_at.is_(None), c.expires_at > unit.now)]


def _asked(unit: Unit, row: sa.Row[Any], *, write: bool) -> tuple[str, ...]:
    branch = _branch_of(unit, row)
    if row.branch_id == "" and write:
        return policy.require(unit, "memory.share", repo_resource(unit, row.repo_id, branch.repo_name)).rules
    action: policy.Action = "memory.write" if write else "memory.read"
    return policy.require(unit, action, branch_resource(unit, branch)).rules


def _may_know(unit: Unit, row: sa.Row[Any]) -> bool:
    return policy.decide(unit, "memory.read", branch_resource(unit, _branch_of(unit, row))).verdict == "allow"


def _branch_of(unit: Unit, row: sa.Row[Any]) -> Branch:
    return repositories.branch_by_id(unit, row.branch_id or repositories.main_id_of(row.repo_id))


def unknown() -> Problem:
    """There is no such item, or nobody may know of it."""
    return Problem("not_found", "there is no such memory", hint="List the memory first.")
