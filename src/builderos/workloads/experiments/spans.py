"""Spans of traces that come one by one, as exporters of OpenTelemetry send them: before their trace is over, from
several processes, or without anybody who tells of the trace itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.audit import service as audit
from builderos.trust.ledger import service as ledger

from .grammar import invalid
from .limits import MAX_INT
from .model import spans, traces
from .reach import experiment, spot
from .traces import ID, LATEST, MAX_PREVIEW, NAME, RUN, elsewhere, find

MAX_AT_ONCE: Final = 2000
MAX_SPANS: Final = 10_000
MAX_BYTES: Final = 16 * 1024**2
MAX_READ: Final = 64 * 1024**2
MAX_TRACES: Final = 100


@dataclass(frozen=True, slots=True)
class Span:
    """A span as it was sent. `root`: it has no parent, and is its trace as far as that goes: `state` (OK, ERROR),
    `request` and `response` are the trace's then. Times in nanoseconds since 1970.
    """

    trace_id: str
    id: str
    name: str
    root: bool
    started_ns: int
    ended_ns: int
    state: str
    document: str
    request: str | None = None
    response: str | None = None


def log(unit: Unit, experiment_id: str, found: Sequence[Span], run_id: str = "") -> None:
    """Keep all of them, or none; the same sent twice is one. A trace that nobody told of begins with them.

    Raises `not_found`, `validation_failed`, `conflict` for a trace that lies in another experiment.
    """
    home, rules = experiment(unit, experiment_id, "experiment.write")
    if run_id and spot(unit, run_id, "experiment.write").experiment_id != home.id:
        raise invalid("the run lies in another experiment")
    if len(found) > MAX_AT_ONCE:
        raise invalid(f"at most {MAX_AT_ONCE} spans are taken at once")
    by_trace: dict[str, dict[str, Span]] = {}
    for span in found:
        _check(span)
        by_trace.setdefault(span.trace_id, {})[span.id] = span
    for trace_id, those in sorted(by_trace.items()):
        if _trace(unit, home.id, trace_id, [*those.values()], run_id):
            told = {"experiment_id": home.id, "state": "IN_PROGRESS", "spans": True}
            ledger.record(unit, "trace.logged", trace_id, told, rules=rules)
        _keep(unit, trace_id, [*those.values()])


def of_traces(unit: Unit, ids: Sequence[str]) -> dict[str, list[str]]:
    """The spans of traces that the actor may read, by trace in the order of their beginnings.

    Raises `not_found`, `validation_failed` for more than one answer holds.
    """
    wanted = list(dict.fromkeys(ids))
    if len(wanted) > MAX_TRACES:
        raise invalid(f"ask for at most {MAX_TRACES} traces at once")
    for id_ in wanted:
        find(unit, id_, "experiment.read")
    c = spans.c
    size = sa.select(sa.func.coalesce(sa.func.sum(c.size), 0)).where(c.trace_id.in_(wanted))
    if int(unit.execute(size).scalar_one()) > MAX_READ:
        raise invalid(f"the spans of these traces are more than {MAX_READ // 1024**2} MiB: ask for fewer")
    rows = unit.execute(
        sa.select(c.trace_id, c.document).where(c.trace_id.in_(wanted)).order_by(c.started_ns, c.id)
    )
    kept: dict[str, list[str]] = {id_: [] for id_ in wanted}
    for row in rows:
        kept[row.trace_id].append(row.document)
    for id_ in wanted:
        audit.access.note(unit, "trace.show", id_)
    return kept


def _trace(unit: Unit, home: str, id_: str, those: Sequence[Span], run_id: str) -> bool:
    """Make the trace, or say of one that is not over what its root says; whether it was made."""
    root = next((span for span in those if span.root), None)
    began = min(span.started_ns for span in those) // 1_000_000
    values: dict[str, Any] = {
        "state": root.state if root else "IN_PROGRESS", "started_at": began,
        "duration_ms": max(0, root.ended_ns // 1_000_000 - began) if root else None,
        "request": root.request if root else None, "response": root.response if root else None,
        "metadata": {RUN: run_id} if run_id else {}, "tags": {NAME: root.name[:250]} if root else {},
    }  # fmt: skip
    first = insert(traces).values(
        org_id=unit.org_id, id=id_, experiment_id=home, client_id=None, created_by=unit.actor.id, created_at=unit.now,
        **values,
    )  # fmt: skip
    c, new = traces.c, first.excluded
    opened = c.state == "IN_PROGRESS"
    changes: Mapping[str, Any] = {
        "state": sa.case((opened, new.state), else_=c.state),
        "started_at": sa.case((opened, sa.func.least(c.started_at, new.started_at)), else_=c.started_at),
        "duration_ms": sa.func.coalesce(c.duration_ms, new.duration_ms),
        "request": sa.func.coalesce(c.request, new.request),
        "response": sa.func.coalesce(c.response, new.response),
        "metadata": new.metadata.op("||")(c.metadata), "tags": new.tags.op("||")(c.tags),
    }  # fmt: skip
    kept = first.on_conflict_do_update(
        index_elements=["org_id", "id"], set_=changes, where=c.experiment_id == home
    )
    row = unit.execute(kept.returning(c.created_at)).one_or_none()
    if row is None:
        raise elsewhere(id_)
    return row.created_at == unit.now


def _keep(unit: Unit, trace_id: str, those: Sequence[Span]) -> None:
    rows = [
        {"org_id": unit.org_id, "trace_id": trace_id, "id": span.id, "started_ns": span.started_ns,
         "size": len(span.document), "document": span.document}
        for span in those
    ]  # fmt: skip
    first = insert(spans).values(rows)
    new = {name: first.excluded[name] for name in ("started_ns", "size", "document")}
    unit.execute(first.on_conflict_do_update(index_elements=["org_id", "trace_id", "id"], set_=new))
    c = spans.c
    found = unit.execute(
        sa.select(sa.func.count().label("many"), sa.func.sum(c.size).label("size")).where(
            c.trace_id == trace_id
        )
    ).one()
    if found.many > MAX_SPANS or found.size > MAX_BYTES:
        raise Problem(
            "payload_too_large", f"a trace holds {MAX_SPANS} spans and {MAX_BYTES // 1024**2} MiB of them",
            hint="Begin another trace.",
        )  # fmt: skip


def _check(span: Span) -> None:
    if not ID.match(span.trace_id):
        raise invalid("a span needs the id of its trace, and one that is not of zeros alone")
    if not 0 < span.started_ns <= min(MAX_INT, LATEST * 1_000_000) or not 0 <= span.ended_ns <= MAX_INT:
        raise invalid(f"Invalid time of the span {span.name[:60]!r}")
    for text in (span.name, span.request or "", span.response or ""):
        if "\x00" in text or len(text) > MAX_PREVIEW:
            raise invalid(f"the name of a span has at most {MAX_PREVIEW} characters, and no NUL")
