"""Which shared branches a repository protects, as its host enforces it."""

from typing import Annotated

from pydantic import Field

from builderos.assets.repositories import service as repositories
from builderos.core.schema import In, Line, Out
from builderos.core.unit import Unit
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource

from .ports import GitHosts


class ProtectIn(In):
    """Which repository; `dry_run` only looks."""

    id: Line
    dry_run: Annotated[bool, Field(description="Only report, record nothing.")] = True


class ProtectedBranch(Out):
    """What is refused on a branch."""

    branch: str
    direct_writes: bool
    force_pushes: bool
    deletion: bool
    needs_approval: bool


class ProtectOut(Out):
    """The shared branches. `protected` only if main is in every way."""

    repo_name: str
    protected: bool
    branches: list[ProtectedBranch]


def protect(unit: Unit, body: ProtectIn) -> ProtectOut:
    """Make sure that the shared branches are protected, and say how. `local` protects them always."""
    repo = repositories.repository_by_id(unit, body.id)
    resource = Resource(kind="repo", id=repo.id, org_id=unit.org_id, repo_id=repo.id, project=repo.name)
    decision = policy.require(unit, "repo.protect", resource)
    found = unit.get(GitHosts).get(repo.host).protections(unit, repo)
    lines = [
        ProtectedBranch(
            branch=p.branch, direct_writes=p.direct_writes, force_pushes=p.force_pushes, deletion=p.deletion,
            needs_approval=p.needs_approval,
        )
        for p in found
    ]  # fmt: skip
    main = next(line for line in lines if line.branch == "main")
    protected = main.direct_writes and main.force_pushes and main.deletion and main.needs_approval
    if not body.dry_run:
        payload = {"repo": repo.name, "protected": protected}
        ledger.record(unit, "repo.protected", repo.id, payload, rules=decision.rules)
    return ProtectOut(repo_name=repo.name, protected=protected, branches=lines)
