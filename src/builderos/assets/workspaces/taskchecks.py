"""Checks of tasks, after the fact: which one decides about a commit, and what is done when it says no."""

from dataclasses import dataclass

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import Branch
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.policy import service as policy

from . import delivery
from .content import tip_of
from .layout import layout_of
from .places import Place, branch_resource
from .tasks import fail_task
from .undo import undo_commit


@dataclass(frozen=True)
class Failed:
    """What was done about a commit whose check failed. `why`: what could not be, and the reason."""

    reverted_by: str | None
    task_failed: bool
    why: str


def check_of(unit: Unit, branch: Branch, task_id: str) -> str | None:
    """The name of the check that a task has at the branch's tip; None where it has none, or nobody can read it."""
    tip = tip_of(unit, branch)
    try:
        found = delivery.tasks.every(tip, layout_of(tip)).get(task_id, {}).get("check")
    except Problem:  # the file is broken: whoever works on the task hears of it
        return None
    return found if isinstance(found, str) and found else None


def check_failed(
    unit: Unit, branch_id: str, task_id: str, commit_sha: str, *, check: str, reason: str
) -> Failed:
    """Mark a task as failed and take back the commit that its check was about, in one commit where both can be.

    A later change of the same lines stays: then the task alone is marked. A task that nobody works on, or that failed
    before, stays as it is: then the commit alone is taken back. Raises what `policy.require` and `write` raise.
    """
    branch = repositories.branch_by_id(unit, branch_id, lock=True)
    policy.require(unit, "git.rollback", branch_resource(unit, branch))
    decision = policy.require(unit, "task.write", branch_resource(unit, branch))
    place, stays = Place(branch, decision.rules, "task.write"), list[str]()
    try:
        both = fail_task(unit, place, task_id, check=check, reason=reason, commit_sha=commit_sha)
        return Failed(both.commit_sha, task_failed=True, why="")
    except Problem as problem:
        stays.append(_understood(problem))
        commit_stays = problem.code == "conflict"
    try:
        if commit_stays:
            fail_task(unit, place, task_id, check=check, reason=reason)
            return Failed(None, task_failed=True, why=stays[0])
        undone = undo_commit(unit, place, commit_sha, reason)
        return Failed(undone.sha, task_failed=False, why=stays[0])
    except Problem as problem:
        stays.append(_understood(problem))
    return Failed(None, task_failed=False, why="; ".join(dict.fromkeys(stays)))


def _understood(problem: Problem) -> str:
    """Why something stays as it is; what is no reason for that is raised again."""
    if problem.code not in ("conflict", "illegal_transition", "not_found", "validation_failed"):
        raise problem
    return problem.detail
