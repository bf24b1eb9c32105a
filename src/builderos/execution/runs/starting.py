"""Start a run: everything it depends on is frozen, its steps are rows, the first of them may run."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from builderos.assets.repositories.schema import Branch
from builderos.assets.workspaces import service as workspaces
from builderos.core import texts, tracing
from builderos.core.ids import new_id
from builderos.core.operations import Reply
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.quotas import service as quotas
from builderos.trust.vault import service as vault

from . import events, groups, sources
from .callers import Callers
from .course import Course, Unborn
from .definition import Definition, Node, bind, expand, node_of
from .ending import finish, wind_up
from .model import runs, steps
from .rows import DOOR, GOOD, Row, actor_json, call_of
from .schema import RunStarted, RunStartIn

RUN_TIMEOUT_S: Final = 6 * 3600.0


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
    """Write the rows of a run in this unit, whoever asked for it and whatever allowed it; returns its id.

    Raises `validation_failed` for parameters that do not fit.
    """
    params = bind(definition, params)
    base = branch.tip if branch is not None else None
    digest = definition.digest
    values: dict[str, Any] = {
        "project_id": _project_of(branch), "repo_id": branch.repo_id if branch else None,
        "branch_id": branch.id if branch else None, "repo_name": branch.repo_name if branch else "",
        "branch": branch.name if branch else "", "pipeline": definition.name, "version": definition.version,
        "kind": kind, "params": params, "definition": definition.as_json(), "definition_digest": digest,
        "input_fingerprint": _digest({"definition": digest, "params": params, "base": base}),
        "trigger": trigger, "priority": priority or definition.priority, "lanes": definition.lanes, "base_sha": base,
        "parent_step_id": parent_step_id,
    }  # fmt: skip
    facts = {"branch": values["branch"], "trigger": trigger.get("type"), "pipeline": definition.ref}
    nodes = expand(definition, params, facts=facts, resolve=sources.resolver(unit, branch))
    return insert_run(unit, values, rows_of(nodes), definition.timeout_s)


def again(unit: Unit, old: Row, from_step: str | None) -> str:
    """A run like an earlier one. What stands before `from_step` and came to a good end is taken over as it was.

    Raises `not_found` where there is no such step.
    """
    rows = unit.execute(sa.select(steps).where(steps.c.run_id == old.id).order_by(steps.c.position)).all()
    if from_step is not None and from_step not in {row.name for row in rows}:
        raise Problem("not_found", f"this run has no step {from_step}", hint="Look at its steps.")
    redo: set[str] = set()
    for row in rows:  # in the order of the definition, needs come first
        kept = row.status in GOOD or (row.status == "skipped" and row.reason == "condition")
        if from_step in (None, row.name) or not kept or not redo.isdisjoint(row.needs):
            redo.add(row.name)
    taken = [
        "project_id", "repo_id", "branch_id", "repo_name", "branch", "pipeline", "version", "kind", "params",
        "definition", "definition_digest", "input_fingerprint", "priority", "base_sha", "base_tree",
    ]  # fmt: skip
    values = {name: getattr(old, name) for name in taken}
    values |= {"lanes": old.definition.get("lanes", "fail_fast"), "rerun_of": old.id}
    values["trigger"] = {"type": "rerun", "by": unit.actor.id, "run_id": old.id, "from_step": from_step}
    made = rows_of([node_of(row.spec) for row in rows])
    waits = _turns([node_of(row.spec) for row in rows if row.name in redo])
    for row, new in zip(rows, made, strict=True):
        if row.name not in redo:
            new.update({name: getattr(row, name) for name in _KEPT}, ended_at=unit.now, started_at=unit.now)
            new["status"] = "skipped" if row.status == "skipped" else "cached"
        new["waiting_for"] = sum(need in redo for need in row.needs) + waits.get(row.name, 0)
    return insert_run(unit, values, made, old.definition.get("timeout_s"))


def insert_run(
    unit: Unit, values: dict[str, Any], made: list[dict[str, Any]], timeout_s: float | None
) -> str:
    """Write the rows of a run and of its steps (`rows_of`), and start what may run; returns its id.

    Raises `budget_exceeded` where the project has nothing left for commands.
    """
    quotas.projects.require(unit, values["repo_id"])
    run_id = new_id("run")
    ended = sum(new.get("ended_at") is not None for new in made)
    values |= {
        "id": run_id, "org_id": unit.org_id, "status": "queued", "detail": "", "actor": actor_json(unit.actor),
        "actor_id": unit.actor.id, "open_steps": len(made) - ended, "paused": False, "rollback": False,
        "traceparent": tracing.headers().get("traceparent", ""), "commits": [], "approvals": [],
        "policy_digest": unit.get(policy.InForce).of(unit).digest,
        "created_at": unit.now, "deadline_at": unit.now + timedelta(seconds=timeout_s or RUN_TIMEOUT_S),
    }  # fmt: skip
    group = groups.name_of(values["definition"]) if values["kind"] != "replay" else None
    held = group is not None and not _turn_of(unit, group, values["definition"])
    values |= {"group_name": group, "held": held}
    rows = {new["id"]: _DEFAULTS | new | {"org_id": unit.org_id, "run_id": run_id} for new in made}
    ref = f"{values['pipeline']}@{values['version']}"
    events.add(unit, run_id, "run.created", {"status": "queued", "pipeline": ref, "steps": len(made)})
    run = texts.row_of(runs, values)
    course = Course(unit, run, Unborn(values, rows))
    if not held:
        course.first(
            [
                texts.row_of(steps, row)
                for row in rows.values()
                if row["waiting_for"] == 0 and row.get("ended_at") is None
            ]
        )
    course.close()
    unit.get(Callers).remember(run_id, call_of(run))
    payload: dict[str, Any] = {
        "pipeline": ref, "definition": values["definition_digest"], "fingerprint": values["input_fingerprint"],
        "trigger": values["trigger"], "steps_total": len(made),
    }  # fmt: skip
    if values["repo_name"]:
        payload |= {"repo": values["repo_name"], "repo_id": values["repo_id"], "branch": values["branch"]}
        payload["base"] = values["base_sha"]
    ledger.record(unit, "run.started", run_id, payload)
    if course.over:  # by their conditions no step may be to run, or all were done at once
        unit.call = replace(unit.call, request_id=run_id, tool="", door=DOOR)
        wind_up(unit, course)
    return run_id


def _turn_of(unit: Unit, group: str, definition: dict[str, Any]) -> bool:
    """Whether a new run of a group may begin at once. Those that wait make room for it where it is to replace them."""
    if definition["concurrency"].get("replace"):
        for run in groups.waiting(unit, group):
            course = Course(unit, run)
            course.stop("cancelled", "replaced by a newer run")
            finish(unit, course)
    return groups.has_room(unit, group, definition)


_KEPT: Final = (
    "attempt", "reason", "input_tree", "output_tree", "result", "exit_code", "usage", "tier", "cache_key", "logs_ref",
    "artifacts_ref", "commit_sha",
)  # fmt: skip
_DEFAULTS: Final[dict[str, Any]] = {
    "status": "pending", "reason": None, "error": "", "attempt": 0, "tries": 0, "turn": 0, "ready_at": None,
    "started_at": None, "ended_at": None, "input_tree": None, "output_tree": None, "result": {}, "exit_code": None,
    "usage": {}, "tier": None, "cache_key": None, "logs_ref": None, "artifacts_ref": [], "commit_sha": None,
    "policy_events": [], "undone": False,
}  # fmt: skip


def rows_of(nodes: Sequence[Node]) -> list[dict[str, Any]]:
    """Rows of steps, as they are before anything has run."""
    needed_by: dict[str, list[str]] = {node.id: [] for node in nodes}
    for node in nodes:
        for need in node.needs:
            needed_by[need].append(node.id)
    waits = _turns(nodes, needed_by)
    return [
        {
            "id": new_id("stp"), "name": node.id, "position": at, "action": node.action, "lane": node.lane,
            "agent_id": node.agent, "spec": node.as_json(), "needs": list(node.needs), "needed_by": needed_by[node.id],
            "waiting_for": len(node.needs) + waits.get(node.id, 0),
        }
        for at, node in enumerate(nodes)
    ]  # fmt: skip


def _turns(nodes: Sequence[Node], needed_by: dict[str, list[str]] | None = None) -> dict[str, int]:
    """How many others of its matrix have to end before a node may begin, where only so many run at once.

    They begin in their order: with `k` at once, the one at place `i` begins when `i - k + 1` of those before it have
    ended, whichever they are. `needed_by` is told whose ends each of them counts.
    """
    before: dict[str, list[str]] = {}
    found: dict[str, int] = {}
    for node in nodes:
        if node.parallel is None or not node.matrix:
            continue
        earlier = before.setdefault(node.step, [])
        found[node.id] = max(0, len(earlier) - node.parallel + 1)
        if needed_by is not None and found[node.id]:
            for id_ in earlier:
                needed_by[id_].append(node.id)
        earlier.append(node.id)
    return found


def _project_of(branch: Branch | None) -> str | None:
    home = branch.home if branch is not None else None
    return home.partition("|")[0] or None if home else None


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
