"""Making endpoints, giving them versions, moving their traffic, and taking that back."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.core.ids import new_id
from builderos.core.operations import Reply
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.engine import signals
from builderos.engine.service import Engine
from builderos.execution.compute import service as compute
from builderos.execution.compute.service import SandboxProviders
from builderos.execution.runs import service as runs
from builderos.trust.audit import service as audit
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.workloads.models import service as registry
from builderos.workloads.models.schema import AliasIn

from . import charting, rows, tally
from .keeping import WORD, Keeper
from .model import deployments, endpoints
from .schema import (
    ActIn,
    ChangeIn,
    CreateIn,
    DeployIn,
    Endpoint,
    EndpointList,
    EndpointMetrics,
    Environment,
    ListIn,
    MetricsIn,
    TrafficIn,
    WhichIn,
)

_STAGES: dict[Environment, tuple[str, ...]] = {
    "dev": ("registered", "staged", "production"), "stage": ("staged", "production"), "prod": ("production",),
}  # fmt: skip


def _may(unit: Unit, action: policy.Action) -> tuple[str, ...]:
    return policy.require(unit, action, policy.org_resource(unit)).rules


def create(unit: Unit, body: CreateIn) -> Reply[Endpoint]:
    """An endpoint, and the process of its first version; that starts behind this call.

    Raises `not_found`, `conflict` where the name is taken, `runtime_not_approved`, `illegal_transition` for a version
    that the environment does not take.
    """
    rules = _may(unit, "endpoint.manage")
    if body.payloads.rate:
        _may(unit, "endpoint.payloads")
    version = _version(unit, body.model_version, body.env)
    runtime, _, profile = compute.runtime_of(unit, None, body.runtime, body.profile)
    values: dict[str, Any] = {
        "id": new_id("enp"), "org_id": unit.org_id, "name": body.name, "env": body.env,
        "policy": body.policy.model_dump(), "scaling": body.scaling.model_dump(),
        "payloads": body.payloads.model_dump(),
        "runtime": runtime, "profile": profile, "state": "active", "traffic": {},
        "numbers": 0, "machine": unit.get(SandboxProviders).place, "created_by": unit.actor.id,
        "created_at": unit.now, "updated_at": unit.now,
    }  # fmt: skip
    made = insert(endpoints).values(values).on_conflict_do_nothing().returning(endpoints)
    row = unit.execute(made).one_or_none()
    if row is None:
        raise Problem("conflict", f"there is an endpoint {body.name} already", hint="Choose another name.")
    ledger.record(
        unit,
        "endpoint.created",
        row.id,
        {"name": row.name, "env": row.env, "policy": row.policy},
        rules=rules,
    )
    _deploy(unit, row, version, 100)
    return Reply(202, rows.shown(unit, row))


def change(unit: Unit, body: ChangeIn) -> Endpoint:
    """Another policy, other bounds, another log of payloads, at once. Raises `not_found`, `illegal_transition`."""
    rules = _may(unit, "endpoint.manage")
    if body.payloads is not None and body.payloads.rate:
        _may(unit, "endpoint.payloads")
    row = _active(unit, body.id)
    asked = {"policy": body.policy, "scaling": body.scaling, "payloads": body.payloads}
    said = {name: part.model_dump() for name, part in asked.items() if part is not None}
    if said:
        rows.change(unit, row.id, **said)
        ledger.record(unit, "endpoint.changed", row.id, {"name": row.name, **said}, rules=rules)
        _tell(unit, row.id)
    return rows.shown(unit, rows.find(unit, row.id))


def deploy(unit: Unit, body: DeployIn) -> Reply[Endpoint]:
    """Another version; what answers goes on until it does. Raises like `create`, `illegal_transition` once stopped."""
    _may(unit, "endpoint.manage")
    row = _active(unit, body.id)
    _deploy(unit, row, _version(unit, body.model_version, row.env), body.share)
    return Reply(202, rows.shown(unit, row))


def _active(unit: Unit, id_: str) -> rows.Row:
    row = rows.find(unit, id_, lock=True)
    if row.state != "active":
        raise Problem("illegal_transition", "this endpoint was stopped", hint="Make a new one.")
    return row


def _version(unit: Unit, ref: str, env: Environment) -> rows.Row:
    name, _, which = ref.rpartition("@")
    if not name:
        raise Problem(
            "validation_failed", "say which version: name@3 or name@alias", hint="List the versions."
        )
    number = int(which) if which.isascii() and which.isdigit() and len(which) < 9 else None
    if number is None:
        number = registry.by_alias(unit, AliasIn(name=name, alias=which)).version
    version = registry.version_of(unit, registry.model_of(unit, name), number)
    if version.stage not in _STAGES[env]:
        raise Problem(
            "illegal_transition", f"{env} takes what is {' or '.join(_STAGES[env])}; this version is {version.stage}",
            hint="Stage it, or promote it, first.",
        )  # fmt: skip
    if not version.files:
        raise Problem(
            "validation_failed", "this version has no files", hint="Register it from where its files are."
        )
    return version


def _deploy(unit: Unit, row: rows.Row, version: rows.Row, share: int) -> None:
    project = registry.project_of(unit, version)
    compute.require_budget(unit, None, row.runtime, row.profile, budget_repo_id=project)
    id_, number = new_id("mdp"), row.numbers + 1
    rows.change(unit, row.id, numbers=number)
    values: dict[str, Any] = {
        "id": id_, "org_id": unit.org_id, "endpoint_id": row.id, "number": number, "version_id": version.id,
        "status": "starting", "detail": "", "created_by": unit.actor.id, "actor": runs.actor_json(unit.actor),
        "starts": 0, "replicas": 1, "created_at": unit.now,
    }  # fmt: skip
    unit.execute(sa.insert(deployments).values(values))
    audit.access.note(unit, "model.serve", version.id)
    said = {"endpoint": row.id, "name": row.name, "version": version.id, "share": share}
    ledger.record(unit, "endpoint.deployed", id_, said)
    keeper, org_id = unit.get(Keeper), unit.org_id
    if Engine in unit.context:  # else this process begins nothing that goes on behind its requests
        unit.after_commit(lambda: keeper.begin(org_id, id_, share))


def traffic(unit: Unit, body: TrafficIn) -> Endpoint:
    """Other shares, at once. Raises `validation_failed`, `conflict` for a deployment that does not answer."""
    _may(unit, "endpoint.manage")
    row = _active(unit, body.id)
    shares = {id_: share for id_, share in body.shares.items() if share}
    if sum(shares.values()) != 100:
        raise Problem("validation_failed", "the shares are not 100 in all", hint="Percents of whole numbers.")
    if body.shadow in shares:
        raise Problem("validation_failed", "what answers is no shadow", hint="Name one without a share.")
    return _switched(unit, row, shares, body.shadow)


def roll_back(unit: Unit, body: ActIn) -> Endpoint:
    """The shares before, at once: what had them goes on running for this. Raises `illegal_transition`, `conflict`."""
    _may(unit, "endpoint.manage")
    row = _active(unit, body.id)
    if not row.before:
        raise Problem("illegal_transition", "nothing was there before", hint="Stop the endpoint instead.")
    shares = {id_: share for id_, share in row.before.items() if share}
    goes_on = row.shadow and row.shadow not in shares and rows.deployment(unit, row.shadow).status == "ready"
    return _switched(unit, row, shares, row.shadow if goes_on else None)


def _switched(unit: Unit, row: rows.Row, shares: dict[str, int], shadow: str | None = None) -> Endpoint:
    ready = {one.id for one in rows.of_endpoint(unit, row.id) if one.status == "ready"}
    if absent := {*shares, *([shadow] if shadow else ())} - ready:
        raise Problem(
            "conflict", f"{', '.join(sorted(absent))} does not answer for this endpoint", hint="Show the endpoint.",
        )  # fmt: skip
    rows.switch(unit, row, shares, shadow)
    _tell(unit, row.id)
    return rows.shown(unit, rows.find(unit, row.id))


def stop(unit: Unit, body: ActIn) -> Endpoint:
    """Nothing answers there any longer. Raises `not_found`."""
    rules = _may(unit, "endpoint.manage")
    row = rows.find(unit, body.id, lock=True)
    if row.state == "active":
        rows.change(unit, row.id, state="stopped", traffic={}, before=None, shadow=None)
        for one in rows.of_endpoint(unit, row.id):
            if one.status in rows.LIVE:
                rows.change_deployment(unit, one.id, status="stopped", ended_at=unit.now, detail="")
        ledger.record(unit, "endpoint.stopped", row.id, {"name": row.name}, rules=rules)
        _tell(unit, row.id)
    return rows.shown(unit, rows.find(unit, row.id))


def _tell(unit: Unit, endpoint_id: str) -> None:
    about = f"{unit.org_id} {endpoint_id}"
    keeper = unit.get(Keeper)
    unit.after_commit(lambda: keeper.heard(about))
    signals.tell(unit, WORD, about)


def show(unit: Unit, body: WhichIn) -> Endpoint:
    """One endpoint. Raises `not_found`."""
    _may(unit, "endpoint.read")
    row = rows.find(unit, body.id)
    audit.access.note(unit, "endpoint.show", row.id)
    return rows.shown(unit, row)


def listed(unit: Unit, body: ListIn) -> EndpointList:
    """Endpoints, newest first."""
    _may(unit, "endpoint.read")
    c = endpoints.c
    key = list_key("endpoints", env=body.env, stopped=body.stopped)
    wanted = sa.select(endpoints).order_by(c.id.desc()).limit(body.limit + 1)
    wanted = wanted if body.stopped else wanted.where(c.state == "active")
    wanted = wanted if body.env is None else wanted.where(c.env == body.env)
    last = decode_cursor(key, body.cursor)
    if last is not None:
        wanted = wanted.where(c.id < str(last[0]))
    found = unit.execute(wanted).all()
    items = [rows.shown(unit, row) for row in found[: body.limit]]
    more = len(found) > body.limit
    return EndpointList(items=items, next_cursor=encode_cursor(key, [items[-1].id]) if more else None)


def metrics(unit: Unit, body: MetricsIn) -> EndpointMetrics:
    """How it did lately, but for the last seconds. Raises `not_found`."""
    _may(unit, "endpoint.read")
    row = rows.find(unit, body.id)
    counted = tally.lately(unit, row.id, body.minutes)
    total, each = tally.answered(counted)
    return EndpointMetrics(
        id=row.id, minutes=body.minutes, total=total, deployments=each, buckets=charting.spread(counted),
        times=charting.over_time(counted, body.minutes),
    )  # fmt: skip
