"""Budgets: how much an organisation may use in a day or a month. Told at 80 %, refused at 100 %.

What was used is looked up every few seconds, behind the calls; in between this process counts on by itself. Several
processes may together overrun a budget by what they serve in that time.
"""

import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Final, Literal

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.dialects.postgresql import insert

from builderos.core.clock import rfc3339, utcnow
from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.problems import Problem
from builderos.core.schema import In, Out, WriteIn
from builderos.core.unit import Unit
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy

from .model import budgets, usage

Meter = Literal["requests", "writes", "commits", "sandboxes", "cpu_seconds"]
Period = Literal["day", "month"]
Level = Literal["ok", "near", "exceeded"]
NEAR: Final = 80  # per cent
_COUNTED: Final = frozenset({"requests", "writes", "sandboxes"})  # commits only when they are in the ledger
log = logging.getLogger("builderos.quotas")


class BudgetIn(WriteIn):
    """How much of what in which time; without an amount there is no such budget any more."""

    meter: Annotated[Meter, Field(description="What is counted.")]
    period: Annotated[Period, Field(description="day or month, in UTC.")]
    amount: Annotated[
        int | None, Field(description="How many; null takes the budget away.", ge=1, le=10**15)
    ] = None


class BudgetListIn(In):
    """Nothing to filter: there are at most ten."""


class Budget(Out):
    """A budget and where it stands."""

    meter: Meter
    period: Period
    amount: int
    used: int
    percent: int
    level: Level
    resets_at: datetime
    set_by: str
    set_at: datetime


class BudgetList(Out):
    """Every budget of the organisation."""

    items: list[Budget]
    next_cursor: str | None = None


@dataclass(frozen=True)
class Standing:
    """One budget in its present period."""

    org_id: str
    meter: Meter
    period: Period
    amount: int
    used: int
    since: date

    @property
    def level(self) -> Level:
        """How near the end it is."""
        if self.used >= self.amount:
            return "exceeded"
        return "near" if self.used * 100 >= self.amount * NEAR else "ok"

    @property
    def resets_at(self) -> datetime:
        """When the next period begins."""
        return end_of(self.period, self.since)


class Budgets:
    """What this process knows of all budgets."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_org: dict[str, list[Standing]] = {}

    def replace(self, standings: Iterable[Standing]) -> None:
        """Take over what the database says."""
        by_org: dict[str, list[Standing]] = {}
        with self._lock:
            for standing in standings:
                by_org.setdefault(standing.org_id, []).append(self._not_behind(standing))
            self._by_org = by_org

    def _not_behind(self, standing: Standing) -> Standing:
        """Commits are read off the ledger some time after they are done: what this process did counts already."""
        if standing.meter != "commits":
            return standing
        known = (s.used for s in self._by_org.get(standing.org_id, []) if _same(s, standing))
        return replace(standing, used=max(standing.used, *known, 0))

    def done(self, org_id: str, meter: Meter) -> None:
        """Count an act that is in the ledger by now."""
        if org_id not in self._by_org:
            return
        with self._lock:
            self._by_org[org_id] = [
                replace(s, used=s.used + 1) if s.meter == meter else s for s in self._by_org.get(org_id, [])
            ]

    def spend(self, org_id: str, used: Iterable[Meter]) -> None:
        """Count one call that uses these meters. Raises `budget_exceeded` where one of their budgets is used up."""
        if org_id not in self._by_org:  # the usual case, without the lock
            return
        wanted, now = set(used), utcnow()
        with self._lock:
            standings = self._by_org.get(org_id, [])
            for standing in standings:
                if standing.meter in wanted and standing.used >= standing.amount and now < standing.resets_at:
                    raise _exceeded(standing)
            counted = wanted & _COUNTED
            self._by_org[org_id] = [
                replace(s, used=s.used + 1) if s.meter in counted else s for s in standings
            ]


def _same(one: Standing, other: Standing) -> bool:
    return (one.meter, one.period, one.since) == (other.meter, other.period, other.since)


def refresh(context: Context) -> list[Standing]:
    """Look up every budget of the server; returns those that are near their end or beyond it."""
    with context.get(Database).as_server() as connection:
        rows = connection.execute("select * from ops.budget_states(%s)", (utcnow().date(),)).fetchall()
    standings = [Standing(*row) for row in rows]
    context.get(Budgets).replace(standings)
    return [standing for standing in standings if standing.level != "ok"]


def listed(unit: Unit, _body: BudgetListIn) -> BudgetList:
    """Every budget with what was used of it."""
    policy.require(unit, "usage.read", policy.org_resource(unit))
    rows = unit.execute(sa.select(budgets).order_by(budgets.c.meter, budgets.c.period)).all()
    return BudgetList(items=[_shown(unit, row) for row in rows])


def put(unit: Unit, body: BudgetIn) -> BudgetList:
    """Set a budget, or take it away. Raises `not_found` for one that is not there to be taken away."""
    decision = policy.require(unit, "budget.write", policy.org_resource(unit))
    c = budgets.c
    if body.amount is None:
        gone = unit.execute(sa.delete(budgets).where(c.meter == body.meter, c.period == body.period))
        if not gone.rowcount:
            raise Problem("not_found", "there is no such budget", hint="List the budgets first.")
    else:
        values = {"amount": body.amount, "set_by": unit.actor.id, "set_at": unit.now}
        statement = insert(budgets).values(org_id=unit.org_id, meter=body.meter, period=body.period, **values)
        keys = ["org_id", "meter", "period"]
        unit.execute(statement.on_conflict_do_update(index_elements=keys, set_=values))
    told = {"meter": body.meter, "period": body.period, "amount": body.amount}
    ledger.record(unit, "budget.changed", f"{body.meter} per {body.period}", told, rules=decision.rules)
    context = unit.context
    unit.after_commit(lambda: _look_again(context))
    rows = unit.execute(sa.select(budgets).order_by(c.meter, c.period)).all()
    return BudgetList(items=[_shown(unit, row) for row in rows])


def _look_again(context: Context) -> None:
    """This process obeys at once, others within seconds."""
    try:
        refresh(context)
    except Problem as problem:  # the budget is set; this process takes it over with its next look
        log.warning("a new budget could not be looked up yet: %s", problem.code)


def _shown(unit: Unit, row: sa.Row[Any]) -> Budget:
    today = unit.now.date()
    since = today if row.period == "day" else today.replace(day=1)
    counted = sa.select(sa.func.coalesce(sa.func.sum(_column(row.meter)), 0)).where(usage.c.day >= since)
    used = int(unit.execute(counted).scalar_one())
    standing = Standing(unit.org_id, row.meter, row.period, row.amount, used, since)
    return Budget(
        meter=row.meter, period=row.period, amount=row.amount, used=used, percent=used * 100 // row.amount,
        level=standing.level, resets_at=standing.resets_at, set_by=row.set_by, set_at=row.set_at,
    )  # fmt: skip


def spend_processor(unit: Unit, limit: int | None) -> None:
    """Raises `budget_exceeded` where commands used up the processor time of a budget, or the `limit` in seconds that
    the policy file sets for a month."""
    unit.get(Budgets).spend(unit.org_id, ("cpu_seconds",))
    if limit is None:
        return
    since = unit.now.date().replace(day=1)
    counted = sa.select(sa.func.coalesce(sa.func.sum(usage.c.cpu_ms), 0)).where(usage.c.day >= since)
    used = int(unit.execute(counted).scalar_one()) // 1000
    if used >= limit:
        raise _exceeded(Standing(unit.org_id, "cpu_seconds", "month", limit, used, since))


def _column(meter: Meter) -> sa.ColumnElement[Any]:
    return usage.c.cpu_ms / 1000 if meter == "cpu_seconds" else usage.c[meter]


def end_of(period: str, since: date) -> datetime:
    """When the next day or month begins."""
    over = since + timedelta(days=1) if period == "day" else (since + timedelta(days=32)).replace(day=1)
    return datetime.combine(over, time(), UTC)


def _exceeded(standing: Standing) -> Problem:
    return Problem(
        "budget_exceeded", f"the budget of {standing.amount} {standing.meter} per {standing.period} is used up",
        hint="Wait until it begins anew, or ask an owner or admin for a larger one.", limit=standing.amount,
        used=standing.used, resets_at=rfc3339(standing.resets_at), name=f"{standing.meter} per {standing.period}",
    )  # fmt: skip
