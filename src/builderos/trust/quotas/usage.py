"""What was used: per day, per actor, in all; for one organisation, and for the owner of the server for all of them."""

from datetime import date, timedelta
from typing import Annotated, Any, Final, Literal, TypeAlias

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.dialects.postgresql import insert

from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.schema import In, Line, Out
from builderos.core.tables import as_dict
from builderos.core.unit import Unit
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy

from . import metering
from .model import usage, usage_periods

MAX_DAYS: Final = 400
Filters: TypeAlias = list[sa.ColumnElement[bool]]
_SUMS: Final[tuple[str, ...]] = (
    "requests",
    "writes",
    "refused",
    "failed",
    "busy_ms",
    "commits",
    "merges",
    "sandboxes",
    "approvals",
    "commands",
    "cpu_ms",
)


class UsageIn(In):
    """Which days, and how they are put together."""

    by: Annotated[Literal["day", "actor"], Field(description="One row per day, or per actor.")] = "day"
    actor: Annotated[Line | None, Field(description="Only this actor, by id.")] = None
    from_: Annotated[
        date | None, Field(alias="from", description="First day (UTC); 30 days ago by default.")
    ] = None
    to: Annotated[date | None, Field(description="Last day (UTC); today by default.")] = None
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class Sums(Out):
    """Numbers of calls and acts. `busy_ms`: time that the server spent on the calls; `cpu_ms`:
    processor time of the commands of runs.
    """

    requests: int
    writes: int
    refused: int
    failed: int
    busy_ms: int
    commits: int
    merges: int
    sandboxes: int
    approvals: int
    commands: int
    cpu_ms: int


class UsageRow(Sums):
    """One day, or one actor."""

    day: date | None
    actor: str | None


class Usage(Out):
    """Rows, newest day or busiest actor first, and the sums of the whole time. `seats`: people in the organisation."""

    items: list[UsageRow]
    totals: Sums
    seats: int
    next_cursor: str | None


def show(unit: Unit, body: UsageIn) -> Usage:
    """What the organisation used. Raises `validation_failed` for days that do not fit together."""
    policy.require(unit, "usage.read", policy.org_resource(unit))
    metering.flush(unit.context)
    today = unit.now.date()
    last, first = body.to or today, body.from_ or (body.to or today) - timedelta(days=29)
    if not first <= last <= first + timedelta(days=MAX_DAYS):
        raise Problem(
            "validation_failed", f"from must not be behind to, nor more than {MAX_DAYS} days before it",
            hint="Send days like 2026-11-01.",
        )  # fmt: skip
    filters = [usage.c.day >= first, usage.c.day <= last]
    filters += [usage.c.actor == body.actor] if body.actor is not None else []
    key = list_key("usage", by=body.by, actor=body.actor, first=first, last=last)
    at = decode_cursor(key, body.cursor, width=2)
    try:
        rows = _rows(unit, body, filters, at)
    except ValueError:  # a cursor that somebody made up
        raise Problem(
            "validation_failed", "the cursor does not belong to this list", hint="Start again."
        ) from None
    items = [UsageRow(**row) for row in rows[: body.limit]]
    end = encode_cursor(key, _place(body.by, items[-1])) if len(rows) > body.limit else None
    return Usage(items=items, totals=Sums(**_totals(unit, filters)), seats=_seats(unit), next_cursor=end)


def close_periods(unit: Unit) -> int:
    """Close every past day that is still open, with a line in the ledger that webhooks pass on; returns how many.

    Called some minutes after midnight, when the last counts of the day are written down.
    """
    today = unit.now.date()
    closed = sa.select(usage_periods.c.day)
    used = sa.select(usage.c.day).where(usage.c.day < today, usage.c.day.not_in(closed)).distinct()
    days = sorted(unit.execute(used).scalars())
    seats = _seats(unit) if days else 0
    for day in days:
        taken = insert(usage_periods).values(org_id=unit.org_id, day=day, closed_at=unit.now)
        if unit.execute(taken.on_conflict_do_nothing().returning(usage_periods.c.day)).first() is None:
            continue
        totals = _totals(unit, [usage.c.day == day])
        ledger.record(
            unit, "usage.period_closed", str(day), {"day": str(day), "seats": seats, "totals": totals}
        )
    return len(days)


def _seats(unit: Unit) -> int:
    return sum(member.kind == "person" for member in identity.members.everybody(unit))


def _rows(unit: Unit, body: UsageIn, filters: Filters, at: list[Any] | None) -> list[dict[str, Any]]:
    """One row more than the page has: newest day or busiest actor first, behind the place of the cursor."""
    c, sums = usage.c, _sums()
    busy = sa.func.sum(c.requests)
    if body.by == "day":
        wanted = sa.select(c.day, *sums).where(*filters).group_by(c.day).order_by(c.day.desc())
        if at is not None:
            wanted = wanted.where(c.day < date.fromisoformat(str(at[0])))
    else:
        wanted = (
            sa.select(c.actor, *sums).where(*filters).group_by(c.actor).order_by(busy.desc(), c.actor.desc())
        )
        if at is not None:
            wanted = wanted.having(sa.tuple_(busy, c.actor) < (int(at[0]), str(at[1])))
    named = [as_dict(row) for row in unit.execute(wanted.limit(body.limit + 1))]
    return [{"day": None, "actor": None, **row} for row in named]


def _place(by: str, row: UsageRow) -> list[str | int]:
    return [str(row.day), ""] if by == "day" else [row.requests, str(row.actor)]


def _totals(unit: Unit, filters: Filters) -> dict[str, int]:
    return as_dict(unit.execute(sa.select(*_sums()).where(*filters)).one())


def _sums() -> list[sa.ColumnElement[int]]:
    return [
        sa.cast(sa.func.coalesce(sa.func.sum(usage.c[name]), 0), sa.BigInteger).label(name) for name in _SUMS
    ]
