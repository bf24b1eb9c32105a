"""Deployments as people and programs look at them, and what they ask to be done with them."""

from typing import Any, Final

import sqlalchemy as sa

from builderos.assets.workspaces import service as workspaces
from builderos.core.files import piece_of
from builderos.core.operations import Reply
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.tables import as_dict
from builderos.core.unit import Unit
from builderos.execution.runs import service as runs
from builderos.execution.runs.schema import RunStartIn

from . import rows
from .care import Care
from .model import deployments
from .opening import BACK
from .schema import (
    DeployIn,
    Deployment,
    DeploymentHealth,
    DeploymentIn,
    DeploymentList,
    DeploymentListIn,
    DeploymentLogs,
    DeploymentLogsIn,
    DeploymentRollbackIn,
    DeployStarted,
)

PIPELINE: Final = "deploy_pipeline"
_SHOWN: Final = frozenset(Deployment.model_fields)


def start(unit: Unit, body: DeployIn) -> Reply[DeployStarted]:
    """Start the run that deploys a branch. Raises what starting a run raises; what the policy says of the environment
    is asked by its step.
    """
    asked = RunStartIn(
        repo_name=body.repo_name, repo_owner=body.repo_owner, branch=body.branch, pipeline=PIPELINE,
        params={"env": body.env},
    )  # fmt: skip
    started = runs.start(unit, asked).body
    text = (
        f"{started.message} It deploys to {body.env}; the deployments with this run_id tell what came of it."
    )
    return Reply(202, DeployStarted(run_id=started.run_id, env=body.env, message=text))


def shown(row: rows.Row) -> Deployment:
    """A row as the contract names it."""
    values: dict[str, Any] = as_dict(row)
    return Deployment(**{name: values[name] for name in _SHOWN})


def seen(unit: Unit, id_: str) -> rows.Row:
    """The row of a deployment that the actor may see. Raises `not_found`."""
    row = rows.find(unit, id_)
    rows.require(unit, "deployment.read", row)
    return row


def show(unit: Unit, body: DeploymentIn) -> Deployment:
    """One deployment. Raises `not_found`."""
    return shown(seen(unit, body.id))


def listed(unit: Unit, body: DeploymentListIn) -> DeploymentList:
    """Deployments, newest first; a sandbox user sees those of the own branch."""
    c = deployments.c
    key = list_key("deployments", **body.model_dump(exclude={"limit", "cursor"}))
    wanted = sa.select(deployments).where(
        c.org_id == unit.org_id,
        *workspaces.within(unit, deployments, "deployment.read", body.repo_name, body.branch),
    )
    for name in ("env", "status", "run_id"):
        if (value := getattr(body, name)) is not None:
            wanted = wanted.where(c[name] == value)
    last = decode_cursor(key, body.cursor)
    if last is not None:
        wanted = wanted.where(c.id < str(last[0]))
    found = unit.execute(wanted.order_by(c.id.desc()).limit(body.limit + 1)).all()
    items = [shown(row) for row in found[: body.limit]]
    more = len(found) > body.limit
    return DeploymentList(items=items, next_cursor=encode_cursor(key, [items[-1].id]) if more else None)


def roll_back(unit: Unit, body: DeploymentRollbackIn) -> Deployment:
    """Have the deployment before this one live again; returns that one.

    Raises `illegal_transition` where this one is not live, `conflict` where there is none before it.
    """
    row = rows.find(unit, body.id)
    decision = rows.require(unit, BACK[row.env], row)
    last = rows.roll_back(unit, row.id, body.reason or "Somebody asked for it.", rules=decision.rules)
    assert last is not None  # else it would have raised
    return shown(rows.find(unit, last.id))


def stop(unit: Unit, body: DeploymentRollbackIn) -> Deployment:
    """Take a live deployment away, and put nothing in its place. Raises `illegal_transition` where it is not live."""
    row = rows.find(unit, body.id, lock=True)
    rows.require(unit, BACK[row.env], row)
    if row.status != "live":
        raise Problem(
            "illegal_transition",
            f"this deployment is {row.status}, not live",
            hint="Stop the one that is.",
            allowed=[],
        )
    rows.end(unit, row.id, "stopped")
    return shown(rows.find(unit, row.id))


def health(unit: Unit, body: DeploymentIn) -> DeploymentHealth:
    """How a deployment was when it was looked at last."""
    row = seen(unit, body.id)
    said: dict[str, Any] = row.health or {}
    if row.status == "live":
        try:
            said = unit.get(Care).provider(row.provider).health(row.id).as_json()
        except Problem as problem:
            if problem.code not in ("not_found", "unavailable"):
                raise  # not here, or not yet: what was written down counts
    else:
        said = said | {"well": None}
    return DeploymentHealth(
        id=row.id, status=row.status, well=said.get("well"), checked_at=said.get("at"), http_status=said.get("status"),
        latency_ms=said.get("latency_ms"), detail=said.get("detail") or "",
    )  # fmt: skip


def logs(unit: Unit, body: DeploymentLogsIn) -> DeploymentLogs:
    """A piece of what a deployment printed. Raises `unavailable` where another machine has it."""
    row = seen(unit, body.id)
    path = rows.state_of(unit, row) / row.logs_ref
    text, following, size = piece_of(path, body.offset, body.limit)
    return DeploymentLogs(id=row.id, text=text, offset=body.offset, next_offset=following, size=size)
