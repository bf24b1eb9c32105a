"""Which branch a call is about, and whether the actor may do there what it wants: the first line of every verb."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated

import sqlalchemy as sa
from pydantic import Field

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import Branch
from builderos.core.problems import Problem
from builderos.core.schema import Name, ToolIn, WriteIn
from builderos.core.unit import Unit
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import RequestContext, Resource

RepoName = Annotated[
    Name | None,
    Field(description="Repository, e.g. ai-builder-lab. Defaults to the one your token belongs to."),
]
RepoOwner = Annotated[
    Name | None, Field(description="Owner of the repository, where the name alone is ambiguous.")
]
BranchName = Annotated[
    Name | None, Field(description="Branch, e.g. sandbox-golden-otter. Defaults to your own.")
]


class BranchIn(ToolIn):
    """A read on one branch."""

    repo_name: RepoName = None
    repo_owner: RepoOwner = None
    branch: BranchName = None


class BranchWriteIn(WriteIn):
    """A change on one branch."""

    repo_name: RepoName = None
    repo_owner: RepoOwner = None
    branch: BranchName = None


@dataclass(frozen=True)
class Place:
    """A branch that the actor may act on, with the decision that allowed it."""

    branch: Branch
    rules: tuple[str, ...]
    action: policy.Action = "files.write"
    asked: frozenset[str] = frozenset()  # paths that the policy has been asked about

    @property
    def repo_name(self) -> str:
        """Name of the repository."""
        return self.branch.repo_name


def sandbox_id_of(branch: Branch) -> str | None:
    """A sandbox and its branch share the random part of their ids."""
    return "sbx_" + branch.id.removeprefix("br_") if branch.kind == "sandbox" else None


def branch_resource(unit: Unit, branch: Branch) -> Resource:
    """A branch as the policy sees it."""
    return Resource(
        kind="branch", id=branch.id, org_id=unit.org_id, repo_id=branch.repo_id,
        branch_kind="archive" if branch.state == "archived" else branch.kind, sandbox_id=sandbox_id_of(branch),
        default_write=branch.name == unit.settings.default_write_branch, project=branch.repo_name, branch=branch.name,
        home=branch.home,
    )  # fmt: skip


def locate(
    unit: Unit, body: BranchIn | BranchWriteIn, action: policy.Action, *, lock: bool = False, paths: tuple[str,
    ...] = ()
) -> Place:  # fmt: skip
    """The branch that `body` names (or the credential implies), after asking the policy about `action`.

    `lock` holds the branch until the unit ends, so that a second writer waits. Raises `branch_required`, `not_found`,
    `forbidden_branch`, `protected_branch`, `tool_not_allowed`.
    """
    name = body.branch or _implied_branch(unit, write=isinstance(body, BranchWriteIn))
    name = name.removeprefix("refs/heads/")
    repo_id, repo_name = _repository(unit, body)
    branch = repositories.find_branch(unit, repo_id, name, lock=lock)
    if branch is not None and body.repo_name is not None and branch.repo_name != body.repo_name:
        raise _no_repository(body.repo_name)
    if branch is None:
        policy.require(unit, action, _unknown(unit, repo_id), RequestContext(paths=paths))
        raise Problem("not_found", f"there is no branch {name} in {repo_name}", hint="Check the branch name.")
    decision = policy.require(unit, action, branch_resource(unit, branch), RequestContext(paths=paths))
    if branch.state == "deleted":
        raise Problem(
            "not_found",
            f"the branch {name} was deleted",
            hint="Call initSandbox with your token to open it again.",
        )
    return Place(branch, decision.rules, action, frozenset(paths))


def within(
    unit: Unit, table: sa.Table, action: policy.Action, repo_name: str | None, branch: str | None
) -> list[sa.ColumnElement[bool]]:
    """Which rows of a table with `repo_id`, `branch_id` and `branch` the caller may list, after asking the policy about
    `action`: a workspace those of its own branch, whoever may look at the organisation all, or what the names say.

    Raises `not_found` for a repository that is not there, and what the policy refuses.
    """
    c = table.c
    if unit.actor.sandbox_id is not None:
        mine = repositories.branch_by_id(unit, "br_" + unit.actor.sandbox_id.removeprefix("sbx_"))
        policy.require(unit, action, branch_resource(unit, mine))
        return [c.branch_id == mine.id]
    policy.require(unit, action, policy.org_resource(unit))
    where: list[sa.ColumnElement[bool]] = []
    if repo_name is not None:
        where.append(c.repo_id == repositories.find_repository(unit, repo_name).id)
    if branch is not None:
        where.append(c.branch == branch)
    return where


def ask_paths(unit: Unit, place: Place, paths: Iterable[str], is_mains: Callable[[str], bool]) -> None:
    """Ask the policy about paths that a verb found out after `locate`; raises `Refused`.

    What merely becomes as main has it (`is_mains`) was let into main before and is nobody's own change here.
    """
    new = set(paths) - place.asked
    if not new:
        return
    resource = branch_resource(unit, place.branch)
    try:
        policy.require_paths(unit, place.action, resource, new)
    except policy.Refused:
        own = [path for path in new if not is_mains(path)]
        if not own:
            return
        policy.require_paths(unit, place.action, resource, own)


def _implied_branch(unit: Unit, *, write: bool) -> str:
    if unit.actor.branch is not None:
        return unit.actor.branch
    default = unit.settings.default_write_branch
    if write and default is not None and unit.actor.role not in ("sandbox", "share", "anonymous"):
        return default
    raise Problem(
        "branch_required", "no branch was named", hint="Say which branch, e.g. sandbox-golden-otter."
    )


def _repository(unit: Unit, body: BranchIn | BranchWriteIn) -> tuple[str, str]:
    """Id and name of the repository; a credential bound to one repository knows no other."""
    if unit.actor.repo_id is not None:
        return unit.actor.repo_id, body.repo_name or "this repository"
    if body.repo_name is None:
        raise Problem("validation_failed", "no repository was named", hint="Say which one with repo_name.")
    repo = repositories.find_repository(unit, body.repo_name, body.repo_owner)
    return repo.id, repo.name


def _no_repository(name: str) -> Problem:
    return Problem(
        "not_found", f"there is no repository {name!r} for this credential", hint="Check repo_name."
    )


def _unknown(unit: Unit, repo_id: str) -> Resource:
    """A branch that does not exist, as the policy sees it: nobody's, so that its absence is private."""
    return Resource(
        kind="branch",
        id="unknown",
        org_id=unit.org_id,
        repo_id=repo_id,
        branch_kind="sandbox",
        sandbox_id="sbx_unknown",
    )
