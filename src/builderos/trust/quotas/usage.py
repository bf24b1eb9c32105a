"""What was used: per day, per actor, in all; for one organisation, and for the owner of the server for all of them."""

from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final, Literal

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.dialects.postgresql import insert

from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.schema import In, Line, Out
from builderos.core.unit import Unit
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy

from .metering import COUNTED, Meter
from .model import usage, usage_periods

MAX_DAYS: Final = 400
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
    """Numbers of calls and acts. `busy_ms`: time that the server spent on the calls."""

    requests: int
    writes: int
    refused: int
    failed: int
    busy_ms: int
    commits: int
    merges: int
    sandboxes: int
    approvals: int


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
    today = unit.now.date()
    last, first = body.to or today, body.from_ or (body.to or today) - timedelta(days=29)
    if not first <= last <= first + timedelta(days=MAX_DAYS):
        raise Problem(
            "validation_failed", f"from must not be behind to, nor more than {MAX_DAYS} days before it",
            hint="Send days like 2026-11-01.",
        )  # fmt: skip
    filters = [usage.c.day >= first, usage.c.day <= last]
    filters += [usage.c.actor == body.actor] if body.actor is not None else []
    rows, totals = _stored(unit, body.by, filters)
    _add_pending(unit, body, first, last, rows, totals)
    key = list_key("usage", by=body.by, actor=body.actor, first=first, last=last)
    at = decode_cursor(key, body.cursor)
    ordered = sorted(rows.items(), key=lambda item: _rank(body.by, item), reverse=True)
    begin = int(at[0]) if at is not None else 0
    page = ordered[begin : begin + body.limit]
    more = len(ordered) > begin + body.limit
    items = [UsageRow(day=_day(body.by, name), actor=_actor(body.by, name), **sums) for name, sums in page]
    return Usage(
        items=items, totals=Sums(**totals), seats=_seats(unit),
        next_cursor=encode_cursor(key, [begin + body.limit]) if more else None,
    )  # fmt: skip


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
        _, totals = _stored(unit, "day", [usage.c.day == day])
        ledger.record(
            unit, "usage.period_closed", str(day), {"day": str(day), "seats": seats, "totals": totals}
        )
    return len(days)


def _seats(unit: Unit) -> int:
    return sum(member.kind == "person" for member in identity.members.everybody(unit))


def _stored(
    unit: Unit, by: Literal["day", "actor"], filters: list[sa.ColumnElement[bool]]
) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
    column = usage.c[by]
    sums = [sa.func.sum(usage.c[name]).label(name) for name in _SUMS]
    rows: dict[str, dict[str, int]] = {}
    totals: dict[str, int] = dict.fromkeys(_SUMS, 0)
    for row in unit.execute(sa.select(column, *sums).where(*filters).group_by(column)):
        rows[str(row[0])] = {name: int(getattr(row, name)) for name in _SUMS}
        for name in _SUMS:
            totals[name] += rows[str(row[0])][name]
    return rows, totals


def _add_pending(
    unit: Unit,
    body: UsageIn,
    first: date,
    last: date,
    rows: dict[str, dict[str, int]],
    totals: dict[str, int],
) -> None:
    """What this process has counted and not written down yet."""
    for (day, actor), sums in unit.get(Meter).of(unit.org_id).actors.items():
        if not first <= day <= last or body.actor not in (None, actor):
            continue
        row = rows.setdefault(str(day) if body.by == "day" else actor, dict.fromkeys(_SUMS, 0))
        for name, value in zip(COUNTED, sums, strict=True):
            row[name] += value
            totals[name] += value


def _rank(by: str, item: tuple[str, dict[str, int]]) -> Any:
    return item[0] if by == "day" else (item[1]["requests"], item[0])


def _day(by: str, name: str) -> date | None:
    return datetime.strptime(name, "%Y-%m-%d").date() if by == "day" else None  # noqa: DTZ007 - a day has no zone


def _actor(by: str, name: str) -> str | None:
    return name if by == "actor" else None
