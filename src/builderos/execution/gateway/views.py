"""What people see of the gateway: a stream, the list of models, what was used."""

import functools
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final, Literal

import sqlalchemy as sa
from pydantic import Field

from builderos.core.actor import is_named
from builderos.core.operations import Live
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.schema import In, Line, Out
from builderos.core.tables import as_dict
from builderos.core.unit import Unit
from builderos.trust.policy import service as policy

from . import routing
from .gateway import Gateway
from .model import ai_usage
from .relaying import Job
from .schema import DEFAULT, NANO, About, Event, Label, State, StreamIn

By = Literal["day", "model", "provider", "key", "actor", "agent", "prompt", "run"]
_COLUMNS: Final = {
    "day": "reserved_at", "model": "model", "provider": "provider", "key": "credential_id", "actor": "actor",
    "agent": "agent", "prompt": "prompt", "run": "run_id",
}  # fmt: skip
_MOST: Final = 1000


class ModelListIn(In):
    """Nothing to filter."""


class ModelRow(Out):
    """A name that can be asked for. Prices per million tokens; null where any name is passed on."""

    name: str
    alias_of: str | None = None
    kind: str
    input: float | None = None
    output: float | None = None
    max_output: int | None = None
    context: int | None = None


class ModelList(Out):
    """Every model of the server's file that the caller may use; `default` is what `default` means."""

    items: list[ModelRow]
    default: str | None
    next_cursor: str | None = None


class AiUsageIn(In):
    """Which requests."""

    run_id: Annotated[Line | None, Field(description="Only those of this run.")] = None
    state: Annotated[State | None, Field(description="Only those that stand so.")] = None
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class AiUsageRow(Out):
    """One request. `held_cost` is the most that it could cost, `cost` what it did; `estimated`: the provider did not
    say, and the numbers are the most that it can have been. `opened_by`: whose workspace asked.
    """

    id: str
    at: datetime
    kind: str
    door: str
    actor: str
    credential_id: str | None
    opened_by: str | None
    run_id: str | None
    step_id: str | None
    agent: str | None
    prompt: str | None
    asked: str
    provider: str
    model: str
    label: Label
    state: State
    code: str
    estimated: bool
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    cost: float
    held_tokens: int
    held_cost: float
    attempts: int
    first_ms: int | None
    total_ms: int | None
    settled_at: datetime | None


class AiUsageList(Out):
    """One page, newest first."""

    items: list[AiUsageRow]
    next_cursor: str | None


class AiSumsIn(In):
    """Which days, and how they are added up."""

    by: Annotated[By, Field(description="One row per what.")] = "day"
    from_: Annotated[
        date | None, Field(alias="from", description="First day (UTC); 30 days ago by default.")
    ] = None
    to: Annotated[date | None, Field(description="Last day (UTC); today by default.")] = None
    run_id: Annotated[Line | None, Field(description="Only requests of this run.")] = None


class AiSum(Out):
    """`name` is the day, the model, …; null where requests had none. `…_ms`: how long requests that went well took:
    half of them at most (`p50`), 95 of 100 at most (`p95`); to the first token (`first`), to the end (`total`);
    null where none was measured.
    """

    name: str | None
    requests: int
    failed: int
    estimated: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    cost: float
    first_p50_ms: float | None
    total_p50_ms: float | None
    total_p95_ms: float | None


class AiSums(Out):
    """Rows, the dearest first (days: the newest), and all of them together."""

    items: list[AiSum]
    totals: AiSum


def stream_completion(unit: Unit, body: StreamIn) -> Live:
    """A stream of events; with the unit the request is let through. Raises like `Gateway.prepare`."""
    gateway = unit.get(Gateway)
    job = gateway.admit(unit, "chat", {**body.as_body(), "stream": True}, About(run_id=body.run_id))
    return Live(functools.partial(_frames, gateway, job), resumable=False)


async def _frames(gateway: Gateway, job: Job) -> AsyncIterator[bytes]:
    try:
        async with aclosing(gateway.events(job)) as events:
            async for event in events:
                yield event.frame()
    except Problem as problem:
        yield Event("error", problem.as_dict(job.request_id) | {"usage_id": job.reservation.id}).frame()


def models(unit: Unit, _body: ModelListIn) -> ModelList:
    """The names, those that the policy lets the caller use."""
    policy.require(unit, "compute.read", policy.org_resource(unit))
    return ModelList(items=_usable(unit), default=unit.get(Gateway).files.current().default)


def usable(unit: Unit) -> list[str]:
    """Names of the models that the caller may use."""
    return [row.name for row in _usable(unit)]


def _usable(unit: Unit) -> list[ModelRow]:
    file = unit.get(Gateway).files.current()
    rows: list[ModelRow] = []
    for name in routing.listed(file):
        target = file.default if name == DEFAULT else file.aliases.get(name)
        real = routing.resolved(file, name)
        provider, _, model = real.partition("/")
        entry = file.providers.get(provider)
        named = is_named(unit.actor, f"model:{name}")
        if entry is None or not entry.enabled or not named or not may_use(unit, real):
            continue
        facts = entry.models.get(model) or entry.models.get("*")
        known = facts.model_dump(include={"input", "output", "max_output", "context"}) if facts else {}
        rows.append(ModelRow(name=name, alias_of=target, kind=entry.kind, **known))
    return rows


def may_use(unit: Unit, name: str) -> bool:
    """Whether the policy lets the caller use a model."""
    return policy.decide(unit, "model.use", routing.resource_of(unit, name)).verdict == "allow"


def usage(unit: Unit, body: AiUsageIn) -> AiUsageList:
    """One row per request."""
    policy.require(unit, "usage.read", policy.org_resource(unit))
    unit.get(Gateway).flush()
    c = ai_usage.c
    wanted = sa.select(ai_usage).order_by(c.id.desc()).limit(body.limit + 1)
    if body.run_id is not None:
        wanted = wanted.where(c.run_id == body.run_id)
    if body.state is not None:
        wanted = wanted.where(c.state == body.state)
    key = list_key("ai usage", run=body.run_id, state=body.state)
    at = decode_cursor(key, body.cursor)
    if at is not None:
        wanted = wanted.where(c.id < str(at[0]))
    rows = unit.execute(wanted).all()
    page = rows[: body.limit]
    end = encode_cursor(key, [page[-1].id]) if len(rows) > len(page) else None
    return AiUsageList(items=[_row(row) for row in page], next_cursor=end)


def sums(unit: Unit, body: AiSumsIn) -> AiSums:
    """Tokens and cost of settled requests. Raises `validation_failed` for days that do not fit together."""
    policy.require(unit, "usage.read", policy.org_resource(unit))
    unit.get(Gateway).flush()
    last = body.to or unit.now.date()
    first = body.from_ or last - timedelta(days=29)
    if not first <= last <= first + timedelta(days=400):
        raise Problem("validation_failed", "from must not be behind to", hint="Send days like 2026-11-01.")
    c = ai_usage.c
    day = sa.cast(sa.func.timezone("UTC", c.reserved_at), sa.Date)
    name = sa.cast(day, sa.Text) if body.by == "day" else c[_COLUMNS[body.by]]
    filters = [day >= first, day <= last, c.state != "reserved"]
    if body.run_id is not None:
        filters.append(c.run_id == body.run_id)
    counted = _sums()
    newest: sa.UnaryExpression[Any] = name.desc()
    dearest: sa.UnaryExpression[Any] = sa.desc("cost")
    order = newest if body.by == "day" else dearest
    rows = unit.execute(
        sa.select(name.label("name"), *counted).where(*filters).group_by(name).order_by(order).limit(_MOST)
    )
    totals = unit.execute(sa.select(sa.null().label("name"), *counted).where(*filters)).one()
    return AiSums(items=[_sum(row) for row in rows], totals=_sum(totals))


def _sums() -> list[sa.ColumnElement[Any]]:
    c = ai_usage.c
    whole = [c.input_tokens, c.cached_tokens, c.output_tokens, c.cost]
    return [
        sa.func.count().label("requests"),
        sa.func.count().filter(c.state != "done").label("failed"),
        sa.func.count().filter(c.estimated).label("estimated"),
        *(sa.cast(sa.func.coalesce(sa.func.sum(one), 0), sa.BigInteger).label(one.name) for one in whole),
        _share(0.5, c.first_ms).label("first_p50_ms"),
        _share(0.5, c.total_ms).label("total_p50_ms"),
        _share(0.95, c.total_ms).label("total_p95_ms"),
    ]


def _share(share: float, of: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """What this share of the requests that went well stays below; between two of them where it falls there."""
    return sa.func.percentile_cont(share).within_group(of).filter(ai_usage.c.state == "done")


def _sum(row: sa.Row[Any]) -> AiSum:
    found = as_dict(row)
    return AiSum(**{**found, "cost": found["cost"] / NANO})


def _row(row: sa.Row[Any]) -> AiUsageRow:
    names = AiUsageRow.model_fields.keys() - {"at", "cost", "held_cost"}
    values = {name: getattr(row, name) for name in names}
    return AiUsageRow(at=row.reserved_at, cost=row.cost / NANO, held_cost=row.held_cost / NANO, **values)
