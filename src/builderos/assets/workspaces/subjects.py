"""Objects of this room and of the repositories as the policy sees them, found by their id."""

from collections.abc import Callable
from typing import Final

from builderos.assets.repositories import service as repositories
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.policy.schema import Resource

from .places import branch_resource
from .pulls import find_pull, pull_resource


def repository(unit: Unit, id_: str) -> Resource:
    """A repository. Raises `not_found`."""
    repo = repositories.repository_by_id(unit, id_)
    return Resource(kind="repo", id=repo.id, org_id=unit.org_id, repo_id=repo.id, project=repo.name)


def branch(unit: Unit, id_: str) -> Resource:
    """A branch. Raises `not_found`."""
    return branch_resource(unit, repositories.branch_by_id(unit, id_))


def sandbox(unit: Unit, id_: str) -> Resource:
    """A sandbox. Raises `not_found`."""
    found = repositories.branch_by_id(unit, f"br_{id_.removeprefix('sbx_')}")
    if found.kind != "sandbox":
        raise Problem("not_found", "there is no such sandbox")
    return Resource(
        kind="sandbox",
        id=id_,
        org_id=unit.org_id,
        repo_id=found.repo_id,
        sandbox_id=id_,
        project=found.repo_name,
        branch=found.name,
    )


def pull(unit: Unit, id_: str) -> Resource:
    """A promotion. Raises `not_found`."""
    row = find_pull(unit, id_)
    source = repositories.branch_by_id(unit, row.source_branch_id)
    return pull_resource(unit, id_, source, repositories.branch_by_id(unit, row.target_branch_id))


SUBJECTS: Final[dict[str, Callable[[Unit, str], Resource]]] = {
    "br": branch,
    "pul": pull,
    "repo": repository,
    "sbx": sandbox,
}
