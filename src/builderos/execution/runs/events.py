"""What happened in a run, in order: written in the unit that changes the run's state, read by whoever follows it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from builderos.core.cleaning import cleaned_texts
from builderos.core.clock import rfc3339
from builderos.core.tables import metadata
from builderos.core.unit import Unit
from builderos.engine import news

run_events = sa.Table(
    "run_events",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("payload", JSONB, nullable=False),
)

CHANNEL: Final = "run_events"
"""NOTIFY's channel; its payload is `organisation run seq`, sent with the commit."""


@dataclass(frozen=True)
class Event:
    """One thing that happened; `seq` counts from 1 without gaps per run."""

    seq: int
    at: datetime
    type: str
    payload: dict[str, Any]

    def as_json(self, run_id: str) -> dict[str, Any]:
        """As clients get it."""
        return {
            "run_id": run_id, "seq": self.seq, "at": rfc3339(self.at), "type": self.type, "payload": self.payload,
        }  # fmt: skip


def add(unit: Unit, run_id: str, type_: str, payload: dict[str, Any]) -> None:
    """Append an event to a run (or a session) in this unit; followers see it right after the commit.

    Call it before `ledger.record`: both hold a lock until the commit, and everybody takes them in this order. Free
    texts of the payload are redacted. `run.ended` is the last event of a run: its followers are let go.
    """
    news.stir(unit)
    item = {"type": type_, "payload": cleaned_texts(payload)}
    unit.gather("ops.add_run_events", run_id, unit.now, item=item)


def read(unit: Unit, run_id: str, *, after: int = 0, limit: int = 200, newest: bool = False) -> list[Event]:
    """Events behind number `after`, oldest first: the first `limit` of them, or the `newest`."""
    e = run_events.c
    wanted = sa.select(e.seq, e.at, e.type, e.payload).where(
        e.org_id == unit.org_id, e.run_id == run_id, e.seq > after
    )
    rows = unit.execute(wanted.order_by(e.seq.desc() if newest else e.seq).limit(limit)).all()
    found = [Event(row.seq, row.at, row.type, row.payload) for row in rows]
    return found[::-1] if newest else found


def newest(unit: Unit, run_id: str) -> int:
    """The number of the last event; 0 where there is none."""
    e = run_events.c
    wanted = sa.select(e.seq).where(e.org_id == unit.org_id, e.run_id == run_id)
    return unit.execute(wanted.order_by(e.seq.desc()).limit(1)).scalar_one_or_none() or 0


@dataclass(frozen=True)
class News:
    """An event of any run, with the branch that the run works on."""

    run_id: str
    event: Event
    repo: str
    branch: str


def snapshot(unit: Unit) -> str:
    """Which transactions have ended by now, as PostgreSQL writes it: `oldest open:next:open ones`."""
    return str(unit.ask("pg_current_snapshot")[0][0])


def between(unit: Unit, seen: str, upto: str, limit: int) -> list[News]:
    """Events of all runs whose transactions ended between two snapshots, in order within each run; at most `limit`.

    Nothing is left out, nothing comes twice, in whatever order transactions begin and end.
    """
    rows = unit.ask("ops.run_news", seen, upto, limit)
    return [
        News(run_id, Event(seq, at, type_, payload), repo or "", branch or "")
        for run_id, seq, at, type_, payload, repo, branch in rows
    ]
