"""Compare git with the ledger: every commit that was made here must have a line."""

import pygit2
import sqlalchemy as sa

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import Branch
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.ledger import service as ledger

from .content import repository_of
from .model import sandboxes

MAX_FINDINGS = 200


def unlogged_commits(unit: Unit) -> list[str]:
    """Commits on sandbox branches, since their base, that no ledger line names."""
    known = ledger.named_commits(unit)
    findings: list[str] = []
    ids = unit.execute(
        sa.select(sandboxes.c.branch_id).where(sandboxes.c.state.in_(("active", "idle", "expired")))
    ).scalars()
    for branch_id in ids.all():
        branch = repositories.branch_by_id(unit, branch_id)
        if branch.tip == branch.base_sha:
            continue
        try:
            own = _own_commits(unit, branch)
        except (
            Problem
        ) as problem:  # its files are gone: that is a finding, and no reason to look at no other branch
            findings.append(f"{branch.name} of {branch.repo_name}: {problem.detail}")
            continue
        where = f"on {branch.name} of {branch.repo_name}"
        findings += [f"commit {sha} {where} has no line in the ledger" for sha in own if sha not in known]
        if len(findings) >= MAX_FINDINGS:
            break
    return findings


def _own_commits(unit: Unit, branch: Branch) -> list[str]:
    repo = repository_of(unit, branch)
    walker = repo.walk(branch.tip, pygit2.enums.SortMode.TOPOLOGICAL)
    for hidden in (branch.base_sha, repositories.main_branch(unit, branch.repo_id).tip):
        if hidden in repo:
            walker.hide(hidden)
    return [str(commit.id) for commit in walker]
