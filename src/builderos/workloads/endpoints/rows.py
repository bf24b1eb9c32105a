"""Endpoints and their deployments as rows. Each function is part of a unit of its caller."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from builderos.core.home import project_state
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.ledger import service as ledger
from builderos.workloads.lineage import service as lineage
from builderos.workloads.models import service as registry

from .model import deployments, endpoints
from .scaling import Bounds
from .schema import CallPolicy, Drift, Endpoint, ModelDeployment, PayloadLog, Scaling

Row: TypeAlias = sa.Row[Any]
LIVE: Final = ("starting", "ready")
KEPT_LOGS: Final = 20  # of the starts of a deployment, the last ones


def find(unit: Unit, id_: str, *, lock: bool = False) -> Row:
    """The row of an endpoint, by id or, while it is active, by name. Raises `not_found`."""
    c = endpoints.c
    which = c.id == id_ if id_.startswith("enp_") else sa.and_(c.name == id_, c.state == "active")
    wanted = sa.select(endpoints).where(which)
    row = unit.execute(wanted.with_for_update() if lock else wanted).one_or_none()
    if row is None:
        raise absent()
    return row


def called(unit: Unit, id_: str) -> Any:
    """Likewise, for calls: with a statement that stays prepared. Raises `not_found`."""
    if id_.startswith("enp_"):
        found = unit.rows(endpoints, id=id_)
    else:
        found = unit.rows(endpoints, name=id_, state="active")
    if not found:
        raise absent()
    return found[0]


def absent() -> Problem:
    """There is none, or none that the caller may know of."""
    return Problem("not_found", "there is no such endpoint", hint="List the endpoints first.")


def deployment(unit: Unit, id_: str, *, lock: bool = False) -> Row:
    """The row of a deployment."""
    wanted = sa.select(deployments).where(deployments.c.id == id_)
    return unit.execute(wanted.with_for_update() if lock else wanted).one()


def of_endpoint(unit: Unit, endpoint_id: str) -> Sequence[Row]:
    """Its deployments, newest first."""
    c = deployments.c
    wanted = sa.select(deployments).where(c.endpoint_id == endpoint_id).order_by(c.number.desc()).limit(20)
    return unit.execute(wanted).all()


def change(unit: Unit, id_: str, **values: Any) -> None:
    """Write columns of an endpoint."""
    unit.execute(sa.update(endpoints).where(endpoints.c.id == id_).values(updated_at=unit.now, **values))


def change_deployment(unit: Unit, id_: str, **values: Any) -> None:
    """Write columns of a deployment."""
    unit.execute(sa.update(deployments).where(deployments.c.id == id_).values(**values))


def shown(unit: Unit, row: Row) -> Endpoint:
    """An endpoint as it is told of."""
    listed: list[ModelDeployment] = []
    for one in of_endpoint(unit, row.id):
        model, version = registry.by_id(unit, one.version_id)
        listed.append(
            ModelDeployment(
                id=one.id, number=one.number, model=model.name, version=version.number, version_id=version.id,
                status=one.status, detail=one.detail, share=int(row.traffic.get(one.id, 0)),
                drift=[Drift.model_validate(column) for column in one.drift or ()],
                replicas=one.replicas if one.status in LIVE else 0, starts=one.starts, created_by=one.created_by,
                created_at=one.created_at, ready_at=one.ready_at, ended_at=one.ended_at,
            )
        )  # fmt: skip
    return Endpoint(
        id=row.id, name=row.name, env=row.env, url=f"{unit.settings.address}/v1/endpoints/{row.id}/invoke",
        policy=CallPolicy.model_validate(row.policy), runtime=row.runtime, profile=row.profile, state=row.state,
        shadow=row.shadow, scaling=Scaling.model_validate(row.scaling),
        payloads=PayloadLog.model_validate(row.payloads), deployments=listed, created_by=row.created_by,
        created_at=row.created_at, updated_at=row.updated_at,
    )  # fmt: skip


def switch(unit: Unit, row: Row, shares: dict[str, int], shadow: str | None = None) -> None:
    """Have other shares; the ones before are kept for a rollback. What neither has any longer, and is no shadow, is
    stopped.
    """
    change(unit, row.id, traffic=shares, before=row.traffic or None, shadow=shadow)
    kept = {id_ for id_, share in {**row.traffic, **shares}.items() if share or id_ in shares} | {shadow}
    for one in of_endpoint(unit, row.id):
        if one.status == "ready" and one.id not in kept:
            change_deployment(
                unit, one.id, status="stopped", ended_at=unit.now, detail="another one took its place"
            )
    ledger.record(
        unit,
        "endpoint.traffic",
        row.id,
        {"name": row.name, "traffic": shares, "before": row.traffic, "shadow": shadow},
    )


def ready(unit: Unit, id_: str, share: int) -> None:
    """A deployment answers for the first time: it gets its share, the others what is left, as they had it."""
    one = deployment(unit, id_, lock=True)
    row = find(unit, one.endpoint_id, lock=True)
    if one.status != "starting" or row.state != "active":
        return
    change_deployment(unit, id_, status="ready", ready_at=unit.now, detail="")
    if one.ready_at is not None:  # it was there before, and has its share
        return
    model, version = registry.by_id(unit, one.version_id)
    node = lineage.Node("endpoint", row.id, f"{row.name} in {row.env}")
    lineage.record(unit, registry.node_of(model, version), node, "served_by")
    said = {"endpoint": row.id, "model": model.name, "version": version.number}
    ledger.record(unit, "endpoint.ready", id_, said)
    if share or not row.traffic:
        keeps = row.shadow if row.shadow != id_ else None
        switch(unit, row, shared(row.traffic, id_, share if row.traffic else 100), keeps)


def shared(before: dict[str, int], id_: str, share: int) -> dict[str, int]:
    """Shares with a new one among them; whole percents that are 100 together."""
    others = {one: part for one, part in before.items() if part and one != id_}
    left, total = 100 - share, sum(others.values())
    found = {one: part * left // total for one, part in others.items()} if total else {}
    return {
        **{one: part for one, part in found.items() if part},
        id_: 100 - sum(part for part in found.values() if part),
    }


def drifted(unit: Unit, id_: str, drift: list[dict[str, Any]]) -> None:
    """How far the columns of what a deployment is asked have moved."""
    change_deployment(unit, id_, drift=drift)


def failed(unit: Unit, id_: str, detail: str) -> None:
    """A deployment never answered, or answers no more."""
    one = deployment(unit, id_, lock=True)
    if one.status not in LIVE:
        return
    row = find(unit, one.endpoint_id, lock=True)
    change_deployment(unit, id_, status="failed", detail=detail[:2000], ended_at=unit.now)
    ledger.record(
        unit, "endpoint.failed", id_, {"endpoint": row.id, "name": row.name, "detail": detail[:500]}
    )


def bounds_of(unit: Unit, id_: str) -> tuple[Bounds, bool, int]:
    """Between how many processes a deployment may have, whether it has ever answered, and how many it has."""
    one = deployment(unit, id_)
    return Bounds.of(find(unit, one.endpoint_id).scaling), one.ready_at is not None, one.replicas


def scaled(unit: Unit, id_: str, before: int, now: int, why: str) -> None:
    """A deployment is to have another number of processes; or could not get one more, where both are the same."""
    one = deployment(unit, id_, lock=True)
    if one.status not in LIVE:
        return
    change_deployment(unit, id_, replicas=now)
    said = {"endpoint": one.endpoint_id, "from": before, "to": now, "why": why}
    ledger.record(unit, "endpoint.scaled", id_, said)


def log_of(unit: Unit, id_: str, start: int) -> Path:
    """Where one start of a process of a deployment is logged."""
    folder = project_state(unit.settings.home_dir, unit.org_id, None) / "logs" / "endpoints" / id_
    return folder / f"{start}.log"


def forget_logs(unit: Unit, id_: str, start: int) -> None:
    """Take away what is logged of starts long before this one."""
    gone = log_of(unit, id_, start - KEPT_LOGS)
    for path in gone.parent.glob(f"{gone.stem}.*"):
        path.unlink(missing_ok=True)
