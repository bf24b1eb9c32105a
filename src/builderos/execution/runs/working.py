"""What one attempt of a step has to know, and what its row tells of how it ended."""

from dataclasses import replace
from typing import Any, Final

import sqlalchemy as sa

from builderos.core.problems import Problem
from builderos.core.steps import Actions, Done, InUnit, Work
from builderos.core.unit import Unit
from builderos.engine.durable import Durable
from builderos.execution.compute import service as compute
from builderos.trust.quotas.service import budgets, projects

from .definition import node_of
from .model import steps
from .rows import Row, seconds_left
from .trees import base_of
from .wanting import filled

STEP_TIMEOUT_S: Final = 600.0


def spend(unit: Unit, run: Row) -> None:
    """Raise `budget_exceeded` where the organisation's budget, the project's, or the run's own, is used up."""
    unit.get(budgets.Budgets).spend(unit.org_id, ("cpu_seconds",))
    projects.require(unit, run.repo_id)
    most = run.definition.get("budget_credits")
    if most is None:
        return
    used = compute.credits_of(unit, run.id)
    if used >= most:
        raise Problem(
            "budget_exceeded", f"the run has used {used:g} of its {most:g} credits",
            hint="Raise the budget in the pipeline, and run it again from this step.", limit=most, used=used,
        )  # fmt: skip


def _budget_holds(unit: Unit, run: Row) -> bool:
    """Whether the organisation's budget and the project's let another step begin."""
    try:
        unit.get(budgets.Budgets).spend(unit.org_id, ("cpu_seconds",))
        projects.require(unit, run.repo_id)
    except Problem:
        return False
    return True


def needs_of(unit: Unit, step: Row) -> list[Row]:
    """The steps that a step needs, in the order of the definition, as far as an attempt has to know them."""
    if not step.needs:
        return []
    c = steps.c
    wanted = sa.select(c.name, c.status, c.output_tree, c.result).where(
        c.run_id == step.run_id, c.name.in_(list(step.needs))
    )
    return list(unit.execute(wanted.order_by(c.position)))


def work_of(
    unit: Unit, run: Row, step: Row, action: str, number: int, tree: str, needs: list[Row],
    *, on_files: bool = False,
) -> Work:  # fmt: skip
    """All that one attempt has to know. `on_files`: it works on the tree, so the one of the beginning is looked up."""
    node = node_of(step.spec)
    left = seconds_left(run, unit.now)
    return Work(
        call=replace(unit.call, tool=f"{action}@1"), run_id=run.id, step_id=step.id, name=step.name, action=action,
        attempt=number,
        node=filled(unit, run, node, step.spec), params=run.params, input_tree=tree,
        base_tree=base_of(unit, run) if on_files else run.base_tree, base_sha=run.base_sha,
        repo_id=run.repo_id, branch_id=run.branch_id, repo_name=run.repo_name, branch=run.branch,
        project_id=run.project_id, timeout_s=max(0.0, min(node.timeout_s or STEP_TIMEOUT_S, left)),
        credits=run.definition.get("budget_credits"),
        needs={need.name: need.result for need in needs},
        trees={need.name: need.output_tree for need in needs if need.output_tree is not None}, said=step.result,
    )  # fmt: skip


def values_of(step: Row, work: Work, done: Done) -> dict[str, Any]:
    """Columns that tell how an attempt ended."""
    output = done.output_tree
    if output is None and done.status in ("succeeded", "cached"):
        output = work.input_tree
    return {
        "error": done.error[:2000], "output_tree": output, "result": dict(done.result), "exit_code": done.exit_code,
        "usage": dict(done.usage), "tier": done.tier, "sandbox_run_id": done.sandbox_run_id,
        "commit_sha": done.commit_sha, "policy_events": [*step.policy_events, *map(dict, done.policy_events)],
    }  # fmt: skip


def quick(unit: Unit, run: Row, step: Row) -> InUnit | None:
    """What a step does, where that is done in the unit that lets it run; None where it takes a task."""
    name, actions = action_of(step.spec), unit.get(Actions)
    action = actions.get(name) if name in actions else None
    if action is None or not action.at_once or step.spec.get("gates") or step.attempt:
        return None
    if unit.actor.id != run.actor_id or run.definition.get("budget_credits") is not None:
        return None
    return action.in_unit if unit.get(Durable).here and _budget_holds(unit, run) else None


def is_heavy(unit: Unit, spec: dict[str, Any]) -> bool:
    """Whether a step needs a slot."""
    name = action_of(spec)
    actions = unit.get(Actions)
    return name in actions and actions.get(name).queue != ""


def action_of(spec: dict[str, Any]) -> str:
    """The name under which what a node does is enrolled."""
    for kind in ("replay", "run", "actor", "agent", "approval", "question"):
        if spec.get(kind) is not None:
            return kind
    return str(spec["action"])
