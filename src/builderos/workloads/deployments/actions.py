"""What steps of a run can do here."""

import functools
from collections.abc import Mapping
from typing import Any, Final

from builderos.core.steps import Action, Actions, Done, Work
from builderos.core.unit import Unit

from . import rows
from .carrying import deploy
from .opening import ACTIONS, BACK, source_of
from .verifying import verify

PLAN: Final = "deploy.plan"
ROLLBACK: Final = "deploy.rollback"
VERIFY: Final = "verify"


def builtin(actions: Actions) -> None:
    """Enrol what steps can do with deployments."""
    for env, name in ACTIONS.items():
        actions.enrol(name, Action(outside=functools.partial(deploy, env), undo=take_back))
    actions.enrol(PLAN, Action(in_unit=plan, lasting=False))
    actions.enrol(ROLLBACK, Action(in_unit=roll_back))
    actions.enrol(VERIFY, Action(outside=verify))


def plan(unit: Unit, work: Work) -> Done:
    """Say whether the tree can be deployed (`found`), so that later steps ask before they try. A `deploy.yaml` with
    mistakes fails the step.

    Inputs: `env`, preview by default.
    """
    env = str(work.node.inputs.get("env") or "preview")
    source = source_of(unit, work, env)
    if source is None:
        return Done(result={"found": False, "kind": None})
    return Done(result={"found": True, "kind": "static" if source.manifest.site is not None else "command"})


def roll_back(unit: Unit, work: Work) -> Done:
    """Have the deployment before one live again. Inputs: `deployment`, its id; `reason`."""
    id_ = str(work.node.inputs.get("deployment") or "")
    row = rows.find(unit, id_)
    decision = rows.require(unit, BACK[row.env], row)
    reason = str(work.node.inputs.get("reason") or f"The run {work.run_id} took it back.")
    last = rows.roll_back(unit, id_, reason, rules=decision.rules)
    return Done(result={"deployment_id": last.id if last is not None else None, "rolled_back": id_})


def take_back(unit: Unit, work: Work, result: Mapping[str, Any]) -> None:
    """Have what was live before the deployment of a step live again; where nothing was, nothing is."""
    id_ = result.get("deployment_id")
    if id_ is None:
        return
    row = rows.find(unit, str(id_))
    if row.status != "live":  # a later one has taken its place, or somebody took it back
        return
    decision = rows.require(unit, BACK[row.env], row)
    rows.roll_back(
        unit, row.id, f"The run {work.run_id} was rolled back.", to_nothing=True, rules=decision.rules
    )  # fmt: skip
