"""Budgets for models: tokens or money, of the organisation, a key, an agent, a run; in a day, a month, in all.

A request is let through as long as anything of every budget about it is left, and holds the most that it can cost until
it ends. So a budget is overrun by one request at most, however many arrive at once.
"""

import re
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import sqlalchemy as sa
from pydantic import Field, field_validator
from sqlalchemy.dialects.postgresql import insert

from builderos.core.problems import Problem
from builderos.core.schema import In, Name, Out, WriteIn
from builderos.core.unit import Unit
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.quotas import service as quotas

from .gateway import Gateway
from .model import ai_budgets, ai_counters, ai_usage
from .ports import Limited
from .schema import NANO

Period = Literal["day", "month", "total"]
Meter = Literal["tokens", "cost"]
_SUBJECT: Final = re.compile(
    r"org|each-key|each-run|key:[A-Za-z0-9_]{1,60}|run:[A-Za-z0-9_]{1,60}|agent:[A-Za-z0-9_.@-]{1,100}"
)
_MOST: Final = 500
_COUNTERS: Final = 1000


class AiBudgetListIn(In):
    """Nothing to filter: there are few."""


class AiBudgetIn(WriteIn):
    """How much of what, for whom, in which time; without an amount there is no such budget any more."""

    subject: Annotated[
        Name,
        Field(
            description="org; each-key or each-run: one for each of them; key:crd_…, run:run_…, agent:name."
        ),
    ] = "org"
    period: Annotated[Period, Field(description="day or month, in UTC; total: it never begins anew.")] = (
        "month"
    )
    meter: Annotated[Meter, Field(description="tokens, or cost in the currency of the server's prices.")] = (
        "cost"
    )
    amount: Annotated[
        float | None, Field(description="How much; null takes the budget away.", gt=0, le=10**9)
    ] = None

    @field_validator("subject")
    @classmethod
    def _known(cls, subject: str) -> str:
        if not _SUBJECT.fullmatch(subject):
            raise ValueError("must be org, each-key, each-run, key:…, run:… or agent:…")
        return subject


class AiUse(Out):
    """How far a budget is used by one of those it is about; `held` is for requests that are under way."""

    of: str
    used: float
    held: float
    percent: int


class AiBudget(Out):
    """A budget, with its present period; the most used first."""

    subject: str
    period: Period
    meter: Meter
    amount: float
    resets_at: datetime | None
    uses: list[AiUse]
    set_by: str
    set_at: datetime


class AiBudgetList(Out):
    """Every budget for models."""

    items: list[AiBudget]
    next_cursor: str | None = None


def listed(unit: Unit, _body: AiBudgetListIn) -> AiBudgetList:
    """Every budget with what was used of it."""
    policy.require(unit, "usage.read", policy.org_resource(unit))
    unit.get(Gateway).flush()
    return _all(unit)


def put(unit: Unit, body: AiBudgetIn) -> AiBudgetList:
    """Set a budget, or take it away. Raises `not_found` for one that is not there, and for a key, a run or
    an agent that is not; `validation_failed`.
    """
    decision = policy.require(unit, "budget.write", policy.org_resource(unit))
    c = ai_budgets.c
    if body.amount is None:
        same = (c.subject == body.subject, c.period == body.period, c.meter == body.meter)
        if not unit.execute(sa.delete(ai_budgets).where(*same)).rowcount:
            raise Problem("not_found", "there is no such budget", hint="List the budgets first.")
    else:
        amount = round(body.amount * NANO) if body.meter == "cost" else round(body.amount)
        if amount < 1:
            raise Problem("validation_failed", "the amount is too small", hint="Send at least one token.")
        _is_there(unit, body.subject)
        if unit.execute(sa.select(sa.func.count()).select_from(ai_budgets)).scalar_one() >= _MOST:
            raise Problem(
                "quota_exceeded",
                f"there are {_MOST} budgets already",
                limit=_MOST,
                used=_MOST,
                resets_at=None,
            )
        values = {"amount": amount, "set_by": unit.actor.id, "set_at": unit.now}
        key = {"org_id": unit.org_id, "subject": body.subject, "period": body.period, "meter": body.meter}
        made = insert(ai_budgets).values(**key, **values)
        unit.execute(made.on_conflict_do_update(index_elements=list(key), set_=values))
        _count_past(unit, body)
    told = {"subject": body.subject, "period": body.period, "meter": body.meter, "amount": body.amount}
    ledger.record(
        unit,
        "ai.budget_changed",
        f"{body.meter} of {body.subject} per {body.period}",
        told,
        rules=decision.rules,
    )
    return _all(unit)


def _is_there(unit: Unit, subject: str) -> None:
    """A budget that guards nothing would say nothing of it. Raises `not_found`."""
    kind, _, name = subject.partition(":")
    known = unit.get(Limited)
    if kind == "key" and not identity.is_live(unit, name):
        raise Problem(
            "not_found",
            "there is no such key",
            hint="A key is named by its id: see GET /v1/api-keys, /v1/me.",
        )
    if kind == "run" and not known.run(unit, name):
        raise Problem("not_found", "there is no such run", hint="List the runs first.")
    asked = sa.select(ai_usage.c.id).where(ai_usage.c.agent == name).limit(1)
    if kind == "agent" and not known.agent(unit, name) and unit.execute(asked).one_or_none() is None:
        raise Problem(
            "not_found", "there is no such agent",
            hint="An agent ships, lies in agents/ on a branch that all share, or has asked a model before.",
        )  # fmt: skip


def _count_past(unit: Unit, body: AiBudgetIn) -> None:
    """What was used in the period before there was a budget counts, too, unless it is counted already."""
    c, since = ai_usage.c, unit.execute(sa.select(sa.func.ops.ai_since(body.period, unit.now))).scalar_one()
    kind, _, name = body.subject.partition(":")
    owner: sa.ColumnElement[str] = {
        "org": sa.literal("org"), "agent": sa.literal("agent:") + c.agent,
        "key": sa.literal("key:") + sa.func.coalesce(c.credential_id, c.actor),
        "each-key": sa.literal("key:") + sa.func.coalesce(c.credential_id, c.actor),
        "run": sa.literal("run:") + c.run_id, "each-run": sa.literal("run:") + c.run_id,
    }[kind]  # fmt: skip
    filters = [c.state != "reserved", sa.func.timezone("UTC", c.reserved_at) >= since, owner.is_not(None)]
    if name:
        filters.append(owner == body.subject)
    past = (
        sa.select(
            sa.literal(unit.org_id), owner, sa.literal(body.period), sa.literal(since),
            sa.cast(sa.func.sum(c.input_tokens + c.output_tokens), sa.BigInteger),
            sa.cast(sa.func.sum(c.cost), sa.BigInteger),
        ).where(*filters).group_by(owner)
    )  # fmt: skip
    made = insert(ai_counters).from_select(["org_id", "subject", "period", "since", "tokens", "cost"], past)
    unit.execute(made.on_conflict_do_nothing())


def _all(unit: Unit) -> AiBudgetList:
    c = ai_budgets.c
    rows = unit.execute(sa.select(ai_budgets).order_by(c.subject, c.period, c.meter)).all()
    return AiBudgetList(items=[_shown(unit, row) for row in rows])


def _shown(unit: Unit, row: sa.Row[Any]) -> AiBudget:
    scale = NANO if row.meter == "cost" else 1
    since = unit.execute(sa.select(sa.func.ops.ai_since(row.period, unit.now))).scalar_one()
    c = ai_counters.c
    used, held = (c.cost, c.held_cost) if row.meter == "cost" else (c.tokens, c.held_tokens)
    wanted = sa.select(c.subject, used.label("used"), held.label("held")).where(
        c.period == row.period, c.since == since
    )
    each = {"each-key": "key:", "each-run": "run:"}.get(row.subject)
    wanted = wanted.where(c.subject.startswith(each, autoescape=True) if each else c.subject == row.subject)
    uses = [
        AiUse(of=u.subject, used=u.used / scale, held=u.held / scale, percent=u.used * 100 // row.amount)
        for u in unit.execute(wanted.order_by(used.desc()).limit(_COUNTERS))
    ]
    resets = None if row.period == "total" else quotas.budgets.end_of(row.period, since)
    return AiBudget(
        subject=row.subject, period=row.period, meter=row.meter, amount=row.amount / scale, resets_at=resets, uses=uses,
        set_by=row.set_by, set_at=row.set_at,
    )  # fmt: skip
