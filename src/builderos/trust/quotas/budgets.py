"""Budgets: how much an organisation or one of its projects may use in a day or a month. Told at 80 %, refused at 100 %.

What was used is looked up every few seconds, behind the calls; in between this process counts on by itself. Several
processes may together overrun a budget by what they serve in that time. What is special about projects: `projects.py`.
"""

import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Final, Literal, Self, get_args

import sqlalchemy as sa
from pydantic import Field, model_validator
from sqlalchemy.dialects.postgresql import insert

from builderos.core.clock import rfc3339, utcnow
from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.problems import Problem
from builderos.core.schema import In, Name, Out, WriteIn
from builderos.core.unit import Unit
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource

from .model import budgets, usage
from .ports import Projects

Meter = Literal["requests", "writes", "commits", "sandboxes", "cpu_seconds"]
ProjectMeter = Literal["cpu_seconds", "memory_hours", "gpu_hours", "tokens"]
AnyMeter = Literal[
    "requests", "writes", "commits", "sandboxes", "cpu_seconds", "memory_hours", "gpu_hours", "tokens"
]
Period = Literal["day", "month"]
Level = Literal["ok", "near", "exceeded"]
NEAR: Final = 80  # per cent
MOST: Final = 500  # budgets of one organisation
_HOURS: Final = frozenset({"memory_hours", "gpu_hours"})
_OF_PROJECTS: Final = frozenset(get_args(ProjectMeter))
_OF_ORGS: Final = frozenset(get_args(Meter))
_COUNTED: Final = frozenset({"requests", "writes", "sandboxes"})  # commits only when they are in the ledger
log = logging.getLogger("builderos.quotas")


class BudgetIn(WriteIn):
    """How much of what in which time; without an amount there is no such budget any more."""

    repo_name: Annotated[
        Name | None,
        Field(description="The project that it is for; the whole organisation where none is named."),
    ] = None
    meter: Annotated[
        AnyMeter,
        Field(
            description="What is counted. Of a project: cpu_seconds, memory_hours (hours of a GiB that is held), "
            "gpu_hours, tokens (of models). Of an organisation: requests, writes, commits, sandboxes, cpu_seconds."
        ),
    ]
    period: Annotated[Period, Field(description="day or month, in UTC.")]
    amount: Annotated[
        float | None,
        Field(description="How many; null takes the budget away.", gt=0, le=10**15, allow_inf_nan=False),
    ] = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        known = _OF_ORGS if self.repo_name is None else _OF_PROJECTS
        if self.meter not in known:
            of = "an organisation" if self.repo_name is None else "a project"
            raise ValueError(f"a budget of {of} counts {', '.join(sorted(known))}")
        if self.amount is not None and self.meter not in _HOURS and self.amount != int(self.amount):
            raise ValueError(f"{self.meter} are counted in whole numbers")
        return self


class BudgetListIn(In):
    """Which budgets: all of them, or those of one project."""

    repo_name: Annotated[Name | None, Field(description="Only those of this project.")] = None


class Budget(Out):
    """A budget and where it stands. `repo_id` and `repo_name` are null where it is the organisation's."""

    repo_id: str | None
    repo_name: str | None
    meter: AnyMeter
    period: Period
    amount: int | float
    used: int | float
    percent: int
    level: Level
    resets_at: datetime
    set_by: str
    set_at: datetime


class BudgetList(Out):
    """Budgets: the organisation's first, then those of its projects."""

    items: list[Budget]
    next_cursor: str | None = None


@dataclass(frozen=True)
class Standing:
    """One budget in its present period."""

    org_id: str
    meter: AnyMeter
    period: Period
    amount: float
    used: float
    since: date
    repo_id: str = ""  # of the project; empty: the organisation's
    project: str = ""  # its name

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

    @property
    def name(self) -> str:
        """What it is a budget of."""
        of = f" of {self.project or self.repo_id}" if self.repo_id else ""
        return f"{self.meter}{of} per {self.period}"


class Budgets:
    """What this process knows of all budgets."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_org: dict[str, list[Standing]] = {}
        self._projects: dict[tuple[str, str], str] = {}  # their names

    def replace(self, standings: Iterable[Standing]) -> None:
        """Take over what the database says."""
        by_org: dict[str, list[Standing]] = {}
        projects: dict[tuple[str, str], str] = {}
        with self._lock:
            for standing in standings:
                if standing.repo_id:
                    projects[standing.org_id, standing.repo_id] = standing.project
                else:
                    by_org.setdefault(standing.org_id, []).append(self._not_behind(standing))
            self._by_org, self._projects = by_org, projects

    def has_project(self, org_id: str, repo_id: str) -> bool:
        """Whether a project has a budget of its own."""
        return (org_id, repo_id) in self._projects

    def project(self, org_id: str, repo_id: str) -> str:
        """The name of a project that has a budget."""
        return self._projects.get((org_id, repo_id), "")

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
                    raise exceeded(standing)
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


def tell(unit: Unit, standing: Standing) -> bool:
    """Note that a budget came to this level in this period; whether that is news. Going back is none."""
    c = budgets.c
    same = (c.repo_id == standing.repo_id, c.meter == standing.meter, c.period == standing.period)
    new = sa.or_(c.told.is_(None), c.told_since != standing.since)
    if standing.level == "exceeded":
        new = sa.or_(new, c.told == "near")
    changed = sa.update(budgets).where(*same, c.amount == standing.amount, new)
    return bool(unit.execute(changed.values(told=standing.level, told_since=standing.since)).rowcount)


def listed(unit: Unit, body: BudgetListIn) -> BudgetList:
    """Every budget with what was used of it. Raises `not_found` for a project."""
    repo_id, where = _place_of(unit, body.repo_name, "usage.read")
    policy.require(unit, "usage.read", where)
    return _shown(unit, repo_id or None)


def put(unit: Unit, body: BudgetIn) -> BudgetList:
    """Set a budget, or take it away; what is refused or was told begins anew with it. Raises `not_found` for a project,
    and for one that is not there to be taken away.
    """
    repo_id, where = _place_of(unit, body.repo_name, "budget.write")
    decision = policy.require(unit, "budget.write", where)
    c = budgets.c
    if body.amount is None:
        same = (c.repo_id == repo_id, c.meter == body.meter, c.period == body.period)
        if not unit.execute(sa.delete(budgets).where(*same)).rowcount:
            raise Problem("not_found", "there is no such budget", hint="List the budgets first.")
    else:
        _set(unit, body, repo_id)
    told = {"meter": body.meter, "period": body.period, "amount": body.amount}
    about = f"{body.meter} per {body.period}"
    if body.repo_name is not None:
        told |= {"repo": body.repo_name, "repo_id": repo_id}
        about = f"{body.meter} of {body.repo_name} per {body.period}"
    ledger.record(unit, "budget.changed", about, told, rules=decision.rules)
    context = unit.context
    unit.after_commit(lambda: _look_again(context))
    return _shown(unit, repo_id or None)


def _set(unit: Unit, body: BudgetIn, repo_id: str) -> None:
    keys = {"org_id": unit.org_id, "repo_id": repo_id, "meter": body.meter, "period": body.period}
    values = {
        "amount": body.amount, "set_by": unit.actor.id, "set_at": unit.now, "told": None, "told_since": None,
    }  # fmt: skip
    statement = insert(budgets).values(**keys, **values)
    unit.execute(statement.on_conflict_do_update(index_elements=list(keys), set_=values))
    held = unit.execute(sa.select(sa.func.count()).select_from(budgets)).scalar_one()
    if held > MOST:
        raise Problem(
            "quota_exceeded", f"there are {MOST} budgets already", hint="Take one away.", limit=MOST, used=MOST,
            resets_at=None,
        )  # fmt: skip
    if body.meter == "tokens":
        unit.ask("ops.ai_count_project", repo_id, body.period, unit.now)


def _look_again(context: Context) -> None:
    """This process obeys at once, others within seconds."""
    try:
        refresh(context)
    except Problem as problem:  # the budget is set; this process takes it over with its next look
        log.warning("a new budget could not be looked up yet: %s", problem.code)


def _place_of(unit: Unit, repo_name: str | None, action: policy.Action) -> tuple[str, Resource]:
    """The project, empty for none, and what the policy is asked about: who looks after a project alone sets its own."""
    whole = policy.org_resource(unit)
    if repo_name is None:
        return "", whole
    try:
        repo_id, name = unit.get(Projects).find(unit, repo_name)
    except Problem:
        policy.require(unit, action, whole)  # whoever may set none learns of no project
        raise
    return repo_id, replace(whole, lies_in=(repo_id,), project=name)


def _shown(unit: Unit, repo_id: str | None) -> BudgetList:
    c, names = budgets.c, unit.get(Projects).names(unit)
    wanted = sa.select(budgets).order_by(c.repo_id, c.meter, c.period).limit(MOST)
    if repo_id is not None:
        wanted = wanted.where(c.repo_id == repo_id)
    return BudgetList(items=[_budget(unit, row, names) for row in unit.execute(wanted).all()])


def _budget(unit: Unit, row: sa.Row[Any], names: dict[str, str]) -> Budget:
    today = unit.now.date()
    since = today if row.period == "day" else today.replace(day=1)
    if row.repo_id:
        asked = (unit.org_id, row.repo_id, row.meter, row.period, since, today)
        used = float(unit.ask("ops.project_used", *asked)[0][0])
    else:
        counted = sa.select(sa.func.coalesce(sa.func.sum(_column(row.meter)), 0)).where(usage.c.day >= since)
        used = float(unit.execute(counted).scalar_one())
    standing = Standing(unit.org_id, row.meter, row.period, row.amount, used, since)
    return Budget(
        repo_id=row.repo_id or None, repo_name=names.get(row.repo_id), meter=row.meter, period=row.period,
        amount=plain(row.amount), used=plain(used), percent=int(used * 100 / row.amount), level=standing.level,
        resets_at=standing.resets_at, set_by=row.set_by, set_at=row.set_at,
    )  # fmt: skip


def plain(amount: float) -> int | float:
    """A number as people read it: whole where it is, else to a millionth."""
    return int(amount) if amount == int(amount) else round(amount, 6)


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
        raise exceeded(Standing(unit.org_id, "cpu_seconds", "month", limit, used, since))


def _column(meter: str) -> sa.ColumnElement[Any]:
    return usage.c.cpu_ms / 1000 if meter == "cpu_seconds" else usage.c[meter]


def end_of(period: str, since: date) -> datetime:
    """When the next day or month begins."""
    over = since + timedelta(days=1) if period == "day" else (since + timedelta(days=32)).replace(day=1)
    return datetime.combine(over, time(), UTC)


def exceeded(standing: Standing) -> Problem:
    """What is said where a budget is used up: of what, how much, until when, and who can raise it."""
    amount, used, until = plain(standing.amount), plain(standing.used), rfc3339(standing.resets_at)
    said = f"the budget of {amount} {standing.meter} per {standing.period} is used up"
    more: dict[str, Any] = {}
    if standing.repo_id:
        project = standing.project or standing.repo_id
        said = (
            f"the project {project} has used up its budget of {amount} {standing.meter} per {standing.period}: "
            f"{used} are used, and it begins anew at {until}"
        )
        more = {"repo_id": standing.repo_id, "repo_name": standing.project}
    return Problem(
        "budget_exceeded", said, hint="Wait until it begins anew, or ask an owner or admin for a larger one.",
        limit=amount, used=used, resets_at=until, name=standing.name, **more,
    )  # fmt: skip
