"""Runs as people and programs look at them."""

from typing import Any, Final

import sqlalchemy as sa

from builderos.assets.repositories import service as repositories
from builderos.assets.workspaces import service as workspaces
from builderos.core.tables import as_dict
from builderos.core.unit import Unit
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource

from .model import steps
from .rows import Row, find_run, unknown_run
from .schema import RunIn, RunOut, RunSummary, StepOut

SHOWN: Final = 200
_SAME: Final = (
    "id", "run_id", "name", "agent_id", "action", "lane", "status", "reason", "error", "attempt", "next_at",
    "exit_code", "result", "usage", "tier", "logs_ref", "artifacts_ref", "policy_events", "cache_key", "input_tree",
    "output_tree", "approval_id", "waiting", "child_run_id", "commit_sha", "needs",
)  # fmt: skip


def resource_of(unit: Unit, run: Row) -> Resource:
    """A run as the policy sees it: its branch, or the organisation."""
    if run.branch_id is None:
        return policy.org_resource(unit)
    return workspaces.branch_resource(unit, repositories.branch_by_id(unit, run.branch_id))


def require(unit: Unit, action: policy.Action, run: Row) -> policy.Decision:
    """Ask the policy about a run. Of another one's sandbox nobody learns that it is there: `not_found`."""
    try:
        return policy.require(unit, action, resource_of(unit, run))
    except policy.Refused as refused:
        if refused.code not in ("forbidden_branch", "not_found") or unit.actor.sandbox_id is None:
            raise
        raise unknown_run() from None


def show(unit: Unit, body: RunIn) -> RunOut:
    """One run with its steps and where it came from."""
    run = find_run(unit, body.id)
    require(unit, "run.read", run)
    return _shown(unit, run)


def shown(unit: Unit, run_id: str) -> RunOut:
    """One run for whoever has been asked about it already, e.g. because it was started just now."""
    return _shown(unit, find_run(unit, run_id))


def _shown(unit: Unit, run: Row) -> RunOut:
    rows = unit.execute(
        sa.select(steps).where(steps.c.run_id == run.id).order_by(steps.c.position).limit(SHOWN)
    ).all()
    total = unit.execute(sa.select(sa.func.count()).where(steps.c.run_id == run.id)).scalar_one()
    return RunOut(
        **summary(run).model_dump(), params=run.params, input_fingerprint=run.input_fingerprint, priority=run.priority,
        deadline_at=run.deadline_at, steps=[as_step(row) for row in rows], steps_total=total,
        provenance=provenance_of(run),
    )  # fmt: skip


def summary(run: Row) -> RunSummary:
    """A row as it stands in a list."""
    return RunSummary(
        id=run.id, project_id=run.project_id, pipeline_id=f"{run.pipeline}@{run.version}", kind=run.kind,
        status=run.status, reason=run.reason, detail=run.detail, repo_name=run.repo_name, branch=run.branch,
        trigger=run.trigger, created_at=run.created_at, started_at=run.started_at, ended_at=run.ended_at,
    )  # fmt: skip


def as_step(row: Row) -> StepOut:
    """A row as the contract names it."""
    values: dict[str, Any] = as_dict(row)
    return StepOut(**{name: values[name] for name in _SAME}, start=row.started_at, end=row.ended_at)


def provenance_of(run: Row) -> dict[str, Any]:
    """From what a run was made and what it left."""
    return {
        "repo": run.repo_name or None, "branch": run.branch or None, "base_sha": run.base_sha,
        "commits": run.commits, "prompts": {}, "agents": {}, "tools": {}, "runtime": None, "approvals": run.approvals,
        "definition": run.definition_digest, "policy": run.policy_digest,
    }  # fmt: skip


def subject(unit: Unit, id_: str) -> Resource:
    """The run with this id as the policy sees it. Raises `not_found`."""
    return resource_of(unit, find_run(unit, id_))
