"""Deployments as rows: how one follows the other in a place. Each function is part of a unit of its caller."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from builderos.assets.repositories import service as repositories
from builderos.assets.workspaces import service as workspaces
from builderos.core.home import project_state
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.engine import signals
from builderos.trust.ledger import service as ledger
from builderos.trust.notices import service as notices
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource

from .model import deployments, places

Row: TypeAlias = sa.Row[Any]
WORD: Final = "deployments"
UNHEALTHY: Final[notices.Rule] = "deploy_unhealthy"
UNDER_WAY: Final = ("queued", "building")


def find(unit: Unit, id_: str, *, lock: bool = False) -> Row:
    """The row of a deployment. Raises `not_found`."""
    wanted = sa.select(deployments).where(deployments.c.id == id_)
    row = unit.execute(wanted.with_for_update() if lock else wanted).one_or_none()
    if row is None:
        raise unknown()
    return row


def unknown() -> Problem:
    """There is no such deployment, or nobody here may know of it."""
    return Problem("not_found", "there is no such deployment", hint="List the deployments first.")


def place_of(unit: Unit, id_: str, *, lock: bool = False) -> Row:
    """The row of a place."""
    wanted = sa.select(places).where(places.c.id == id_)
    return unit.execute(wanted.with_for_update() if lock else wanted).one()


def resource_of(unit: Unit, row: Row) -> Resource:
    """A deployment as the policy sees it: its branch, in its environment."""
    return resource_in(unit, row.branch_id, row.env)


def subject(unit: Unit, id_: str) -> Resource:
    """The deployment with this id as the policy sees it. Raises `not_found`."""
    return resource_of(unit, find(unit, id_))


def resource_in(unit: Unit, branch_id: str, env: str) -> Resource:
    """A branch in an environment."""
    branch = repositories.branch_by_id(unit, branch_id)
    return replace(workspaces.branch_resource(unit, branch), environment=env)


def repo_resource(unit: Unit, row: Row) -> Resource:
    """Where hosts and secrets of a deployment are asked for."""
    return Resource(
        kind="repo", id=row.repo_id, org_id=unit.org_id, repo_id=row.repo_id, branch=row.branch, environment=row.env
    )  # fmt: skip


def require(unit: Unit, action: policy.Action, row: Row) -> policy.Decision:
    """Ask the policy. Of another one's sandbox nobody learns that it is there: `not_found`."""
    try:
        return policy.require(unit, action, resource_of(unit, row))
    except policy.Refused as refused:
        if refused.code not in ("forbidden_branch", "not_found") or unit.actor.sandbox_id is None:
            raise
        raise unknown() from None


def state_of(unit: Unit, row: Row) -> Path:
    """The `.builderos/` folder that a deployment belongs to."""
    return project_state(unit.settings.home_dir, unit.org_id, row.project_id)


def change(unit: Unit, id_: str, **values: Any) -> None:
    """Write columns of a deployment."""
    unit.execute(sa.update(deployments).where(deployments.c.id == id_).values(**values))


def payload_of(row: Row, **more: Any) -> dict[str, Any]:
    """What every line of the ledger about a deployment says."""
    said = {
        "env": row.env, "place": row.place_id, "number": row.number, "repo": row.repo_name, "repo_id": row.repo_id,
        "branch": row.branch, "tree": row.built_tree or row.tree, "run_id": row.run_id, **more,
    }  # fmt: skip
    return {key: value for key, value in said.items() if value is not None}


# -------------------------------------------------------------------- what happens to one


def fail(unit: Unit, id_: str, reason: str, detail: str) -> None:
    """It never became live; what was before is as it was. Somebody is told."""
    row = find(unit, id_, lock=True)
    if row.status not in UNDER_WAY:
        return
    change(unit, id_, status="failed", reason=reason, detail=detail[:2000], ended_at=unit.now)
    notices.raise_alert(unit, UNHEALTHY, id_, {"env": row.env, "branch": row.branch, "reason": reason,
                                               "detail": detail[:500]})  # fmt: skip
    ledger.record(unit, "deployment.failed", id_, payload_of(row, reason=reason))


def go_live(unit: Unit, id_: str, url: str, health: Mapping[str, Any]) -> Row:
    """It is served now, instead of the one before. Returns its row; done already is no fault."""
    row = find(unit, id_, lock=True)
    if row.status not in UNDER_WAY:
        return row
    place = place_of(unit, row.place_id, lock=True)
    change(
        unit, id_, status="live", url=url, health=dict(health), live_at=unit.now, replaces=place.current_id
    )
    if place.current_id is not None:
        change(unit, place.current_id, status="superseded", ended_at=unit.now)
    unit.execute(sa.update(places).where(places.c.id == place.id).values(current_id=id_, url=url))
    ledger.record(unit, "deployment.live", id_, payload_of(row, url=url, replaces=place.current_id))
    return find(unit, id_)


def may_go_live(unit: Unit, id_: str) -> bool:
    """Whether no later one has become live meanwhile; else this one is superseded before it was."""
    row = find(unit, id_, lock=True)
    place = place_of(unit, row.place_id)
    if row.status not in UNDER_WAY:
        return row.status == "live"
    if place.current_id is not None and find(unit, place.current_id).number > row.number:
        change(unit, id_, status="superseded", reason="overtaken", ended_at=unit.now)
        ledger.record(unit, "deployment.superseded", id_, payload_of(row, by=place.current_id))
        return False
    return True


def before(unit: Unit, row: Row) -> Row | None:
    """The deployment that was live before this one, and can be again."""
    c = deployments.c
    wanted = sa.select(deployments).where(
        c.place_id == row.place_id, c.number < row.number, c.status == "superseded", c.live_at.is_not(None),
        c.reason.is_(None),
    )  # fmt: skip
    return unit.execute(wanted.order_by(c.number.desc()).limit(1)).one_or_none()


def roll_back(
    unit: Unit, id_: str, reason: str, *, to_nothing: bool = False, rules: tuple[str, ...] = ()
) -> Row | None:
    """Have the one before live again; this process, or the one that serves the place, switches once that is durable.

    `to_nothing`: where there is none, the place answers no more. Raises `illegal_transition` where it is not live,
    `conflict` where there is none before it.
    """
    row = find(unit, id_, lock=True)
    place = place_of(unit, row.place_id, lock=True)
    if row.status != "live" or place.current_id != id_:
        raise Problem(
            "illegal_transition", f"this deployment is {row.status}, not live",
            hint="Roll back the one that is live.", allowed=[],
        )  # fmt: skip
    last = before(unit, row)
    if last is None and not to_nothing:
        raise Problem(
            "conflict",
            "there is no deployment before this one",
            hint="Deploy what it should be.",
            conflicts=[],
        )
    change(unit, id_, status="rolled_back", reason="rolled_back", detail=reason[:2000], ended_at=unit.now)
    if last is not None:
        change(unit, last.id, status="live", ended_at=None)
    current = last.id if last is not None else None
    unit.execute(sa.update(places).where(places.c.id == place.id).values(current_id=current))
    signals.tell(unit, WORD, f"{unit.org_id} {place.id}")
    ledger.record(
        unit,
        "deployment.rolled_back",
        id_,
        payload_of(row, to=current, why=reason[:500] or None),
        rules=rules,
    )
    return last


def end(unit: Unit, id_: str, reason: str) -> None:
    """Take a live one away, and put nothing in its place."""
    row = find(unit, id_, lock=True)
    place = place_of(unit, row.place_id, lock=True)
    if row.status != "live":
        return
    change(unit, id_, status="superseded", reason=reason, ended_at=unit.now)
    unit.execute(sa.update(places).where(places.c.id == place.id).values(current_id=None))
    signals.tell(unit, WORD, f"{unit.org_id} {place.id}")
    ledger.record(unit, "deployment.ended", id_, payload_of(row, reason=reason))
