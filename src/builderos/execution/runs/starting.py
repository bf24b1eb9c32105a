"""Start a run: everything it depends on is frozen, its steps are rows, the first of them may run."""

import hashlib
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from builderos.assets.repositories.schema import Branch
from builderos.assets.workspaces import service as workspaces
from builderos.core import tracing
from builderos.core.ids import new_id
from builderos.core.operations import Reply
from builderos.core.steps import Actions
from builderos.core.unit import Unit
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.vault import service as vault

from . import events, sources
from .course import Course
from .definition import Definition, Node, bind, expand
from .model import runs, steps
from .rows import actor_json, call_of, find_run
from .schema import RunStarted, RunStartIn
from .stepping import Callers

RUN_TIMEOUT_S: Final = 6 * 3600.0
_AT_ONCE: Final = 500


def start(unit: Unit, body: RunStartIn) -> Reply[RunStarted]:
    """Start a run. Raises `not_found`, `validation_failed`, what `locate` raises, `policy_denied`."""
    branch, rules = place_of(unit, body)
    definition = sources.find(unit, body.pipeline, branch)
    params = vault.clean(unit, body.params)
    run_id = begin(
        unit, definition, params, branch, {"type": "manual", "by": unit.actor.id}, priority=body.priority
    )
    where = f" on branch {branch.name} of {branch.repo_name}" if branch is not None else ""
    del rules
    text = f"Started {definition.ref} as {run_id}{where}."
    return Reply(202, RunStarted(run_id=run_id, status="queued", message=text))


def place_of(unit: Unit, body: workspaces.BranchWriteIn) -> tuple[Branch | None, tuple[str, ...]]:
    """The branch of a run, after asking the policy; none where none is named or implied."""
    if body.branch is None and body.repo_name is None and unit.actor.branch is None:
        return None, policy.require(unit, "run.start", policy.org_resource(unit)).rules
    place = workspaces.locate(unit, body, "run.start")
    return place.branch, place.rules


def begin(
    unit: Unit, definition: Definition, params: dict[str, Any], branch: Branch | None, trigger: dict[str, Any], *,
    priority: int | None = None, parent_step_id: str | None = None, kind: str = "pipeline",
) -> str:  # fmt: skip
    """Write the rows of a run in this unit, whoever asked for it and whatever allowed it; returns its id."""
    params = bind(definition, params)
    nodes = expand(definition, params)
    run_id = new_id("run")
    frozen = definition.as_json()
    fingerprint = {"definition": definition.digest, "params": params, "base": branch.tip if branch else None}
    unit.execute(
        sa.insert(runs).values(
            id=run_id, org_id=unit.org_id, project_id=_project_of(branch),
            repo_id=branch.repo_id if branch else None, branch_id=branch.id if branch else None,
            repo_name=branch.repo_name if branch else "", branch=branch.name if branch else "",
            pipeline=definition.name, version=definition.version, kind=kind, status="queued", detail="", params=params,
            definition=frozen, definition_digest=definition.digest, input_fingerprint=_digest(fingerprint),
            trigger=trigger, actor=actor_json(unit.actor), actor_id=unit.actor.id,
            priority=priority or definition.priority, lanes=definition.lanes, base_sha=branch.tip if branch else None,
            open_steps=len(nodes), paused=False, parent_step_id=parent_step_id,
            traceparent=tracing.headers().get("traceparent", ""), commits=[], approvals=[], policy_digest="",
            created_at=unit.now, deadline_at=unit.now + timedelta(seconds=definition.timeout_s or RUN_TIMEOUT_S),
        )
    )  # fmt: skip
    _insert_steps(unit, run_id, nodes)
    events.add(
        unit, run_id, "run.created", {"status": "queued", "pipeline": definition.ref, "steps": len(nodes)}
    )
    run = find_run(unit, run_id)
    course = Course(unit, run)
    first = unit.execute(sa.select(steps).where(steps.c.run_id == run_id, steps.c.waiting_for == 0))
    course.ready(sorted(first, key=lambda row: row.position))
    course.close()
    unit.get(Callers).remember(run_id, call_of(run))
    payload = {
        "pipeline": definition.ref, "definition": definition.digest, "fingerprint": _digest(fingerprint),
        "trigger": trigger, "steps_total": len(nodes),
    }  # fmt: skip
    if branch is not None:
        payload |= {
            "repo": branch.repo_name,
            "repo_id": branch.repo_id,
            "branch": branch.name,
            "base": branch.tip,
        }
    ledger.record(unit, "run.started", run_id, payload)
    return run_id


def _insert_steps(unit: Unit, run_id: str, nodes: Sequence[Node]) -> None:
    needed_by: dict[str, list[str]] = {node.id: [] for node in nodes}
    for node in nodes:
        for need in node.needs:
            needed_by[need].append(node.id)
    rows: list[dict[str, Any]] = [
        {
            "id": new_id("stp"), "org_id": unit.org_id, "run_id": run_id, "name": node.id, "position": at,
            "action": node.action, "lane": node.lane, "agent_id": node.agent, "spec": node.as_json(),
            "needs": list(node.needs), "needed_by": needed_by[node.id], "waiting_for": len(node.needs),
            "status": "pending", "error": "", "attempt": 0, "tries": 0, "turn": 0, "result": {}, "usage": {},
            "artifacts_ref": [], "policy_events": [],
        }
        for at, node in enumerate(nodes)
    ]  # fmt: skip
    for at in range(0, len(rows), _AT_ONCE):
        unit.execute(sa.insert(steps).values(rows[at : at + _AT_ONCE]))


def _project_of(branch: Branch | None) -> str | None:
    home = branch.home if branch is not None else None
    return home.partition("|")[0] or None if home else None


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def known_actions(unit: Unit) -> list[str]:
    """Names of the actions that steps may have here."""
    return sorted(unit.get(Actions))
