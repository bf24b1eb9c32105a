"""Traces: what happened within a call, as a client tells it; its spans are a file of the trace, or rows (`spans`)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.audit import service as audit
from builderos.trust.ledger import service as ledger

from .grammar import ASSESSED, TRACES, Clause, invalid, read_filter, read_order
from .limits import MAX_INT, MAX_TAGS, check_tags
from .model import artifacts, assessments, spans, traces
from .operators import OPERATORS
from .reach import Act, experiment, require

Row = sa.Row[Any]
ID: Final = re.compile(r"tr-[0-9a-f]{32}\Z")
STATES: Final = frozenset({"STATE_UNSPECIFIED", "OK", "ERROR", "IN_PROGRESS"})
MAX_PREVIEW: Final = 10_000
LATEST: Final = 253_402_300_799_000  # the last second of the year 9999
MAX_DELETED: Final = 1000
RUN: Final = "mlflow.sourceRun"
NAME: Final = "mlflow.traceName"
# The words of clients; times are numbers to the grammar under these names alone.
ATTRIBUTES: Final = {
    "status": "status", "state": "status", "request_id": "trace_id", "trace_id": "trace_id", "run_id": "run_id",
    "name": "name", "timestamp": "start_time", "timestamp_ms": "start_time", "request_time": "start_time",
    "execution_time": "end_time", "execution_time_ms": "end_time", "execution_duration": "end_time",
}  # fmt: skip
_COLUMNS: Final[dict[str, sa.ColumnElement[Any]]] = {
    "status": traces.c.state, "trace_id": traces.c.id, "start_time": traces.c.started_at,
    "end_time": traces.c.duration_ms, "run_id": traces.c.metadata[RUN].astext, "name": traces.c.tags[NAME].astext,
}  # fmt: skip
FILE: Final = "traces.json"


@dataclass(frozen=True, slots=True)
class Told:
    """A trace as a client tells it. Times in milliseconds."""

    id: str
    experiment_id: str
    state: str
    started_at: int
    duration_ms: int | None
    request: str | None
    response: str | None
    client_id: str | None
    metadata: Mapping[str, str]
    tags: Mapping[str, str]


def log(unit: Unit, told: Told) -> Row:
    """Keep a trace; told again, e.g. once it is over, the later words count.

    Raises `not_found`, `validation_failed`, `conflict` for one that lies in another experiment.
    """
    _check(told)
    home, rules = experiment(unit, told.experiment_id, "experiment.write")
    values: dict[str, Any] = {
        "state": told.state, "started_at": told.started_at, "duration_ms": told.duration_ms, "request": told.request,
        "response": told.response, "client_id": told.client_id, "metadata": dict(told.metadata),
        "tags": dict(told.tags),
    }  # fmt: skip
    first = insert(traces).values(
        org_id=unit.org_id, id=told.id, experiment_id=home.id, created_by=unit.actor.id, created_at=unit.now, **values
    )  # fmt: skip
    c = traces.c
    kept = first.on_conflict_do_update(
        index_elements=["org_id", "id"], set_=values, where=c.experiment_id == home.id
    )
    row = unit.execute(kept.returning(traces)).one_or_none()
    if row is None:
        raise elsewhere(told.id)
    ledger.record(unit, "trace.logged", told.id, {"experiment_id": home.id, "state": told.state}, rules=rules)
    return row


def elsewhere(id_: str) -> Problem:
    """A trace stays where it is."""
    return Problem(
        "conflict", f"the trace {id_} lies in another experiment", hint="Take another id.", conflicts=[]
    )


def rows_of(unit: Unit, ids: Sequence[str]) -> dict[str, int]:
    """How many spans of traces are rows, of those that have any, and of whose spans no file was made."""
    c = spans.c
    filed = sa.exists().where(artifacts.c.owner == c.trace_id, artifacts.c.path == FILE)
    wanted = sa.select(c.trace_id, sa.func.count().label("many")).where(c.trace_id.in_(list(ids)), ~filed)
    return {row.trace_id: row.many for row in unit.execute(wanted.group_by(c.trace_id))}


def find(unit: Unit, id_: str, act: Act) -> Row:
    """A trace that the actor may act on. Raises `not_found`."""
    row = unit.execute(sa.select(traces).where(traces.c.id == id_)).one_or_none()
    if row is None:
        require(unit, act)
        raise Problem(
            "not_found", f"Trace with ID '{id_[:100]}' not found.", hint="Search the traces.", what="run"
        )
    experiment(unit, row.experiment_id, act, gone=act == "experiment.read")
    return row


def show(unit: Unit, id_: str) -> Row:
    """A trace. Raises `not_found`."""
    row = find(unit, id_, "experiment.read")
    audit.access.note(unit, "trace.show", row.id)
    return row


def set_tag(unit: Unit, id_: str, key: str, value: str | None) -> None:
    """Set a tag, or take it away. Raises `not_found`, `validation_failed`."""
    row = find(unit, id_, "experiment.write")
    tags = {name: text for name, text in row.tags.items() if name != key}
    if value is not None:
        check_tags({key: value})
        tags[key] = value
    if len(tags) > MAX_TAGS:
        raise invalid(f"a trace may have {MAX_TAGS} tags")
    unit.execute(sa.update(traces).where(traces.c.id == id_).values(tags=tags))
    ledger.record(unit, "trace.tagged", id_, {"key": key[:250]})


def remove(unit: Unit, experiment_id: str, ids: Sequence[str], before: int | None, most: int) -> int:
    """Take traces away with their files: these, or the oldest up to a time; how many. Raises `not_found`."""
    home, rules = experiment(unit, experiment_id, "experiment.write")
    c = traces.c
    which = c.id.in_(ids) if ids else c.started_at <= (MAX_INT if before is None else before)
    wanted = sa.select(c.id).where(c.experiment_id == home.id, which).order_by(c.started_at, c.id)
    found = list(unit.execute(wanted.limit(min(most, MAX_DELETED))).scalars())
    if found:
        unit.execute(sa.delete(artifacts).where(artifacts.c.owner.in_(found)))
        unit.execute(sa.delete(traces).where(c.id.in_(found)))
        told = {"traces": len(found), "first": found[0], "last": found[-1]}
        ledger.record(unit, "trace.removed", home.id, told, rules=rules)
    return len(found)


def search(
    unit: Unit, experiment_ids: Sequence[str], filter_: str, order_by: Sequence[str], limit: int, token: str | None
) -> tuple[list[Row], str | None]:  # fmt: skip
    """Traces of experiments that match, the newest first unless told otherwise, and where the next page goes on.

    Raises `not_found`, `validation_failed`.
    """
    homes = [
        experiment(unit, id_, "experiment.read", gone=True)[0].id for id_ in dict.fromkeys(experiment_ids)
    ]
    c = traces.c
    wanted = sa.select(traces).where(c.experiment_id.in_(homes))
    wanted = wanted.where(*[_condition(clause) for clause in read_filter(filter_, ATTRIBUTES, TRACES)])
    for order in read_order(order_by, ATTRIBUTES, TRACES):
        if order.entity != "attribute":
            raise invalid(
                "traces are ordered by their attributes: timestamp_ms, execution_time_ms, status, name"
            )
        column = _COLUMNS[order.key]
        wanted = wanted.order_by(sa.nulls_last(column.desc() if order.descending else column.asc()))
    key = list_key("traces", ids=sorted(homes), filter=filter_, order=list(order_by))
    last = decode_cursor(key, token)
    skipped = int(last[0]) if last is not None else 0
    wanted = wanted.order_by(c.started_at.desc(), c.id).offset(skipped).limit(limit + 1)
    rows = list(unit.execute(wanted))
    return rows[:limit], encode_cursor(key, [skipped + limit]) if len(rows) > limit else None


def _condition(clause: Clause) -> sa.ColumnElement[bool]:
    if clause.entity == "attribute":
        return OPERATORS[clause.operator](_COLUMNS[clause.key], clause.value)
    if clause.entity in ASSESSED:
        return _assessed(clause)
    text = (traces.c.metadata if clause.entity == "param" else traces.c.tags)[clause.key].astext
    if clause.operator.startswith("IS"):
        return text.is_(None) if clause.operator == "IS NULL" else text.is_not(None)
    return OPERATORS[clause.operator](text, clause.value)


def _assessed(clause: Clause) -> sa.ColumnElement[bool]:
    """What is thought of a trace: a value is compared as a number, or as the text that it is."""
    c, operator = assessments.c, clause.operator
    own = (c.trace_id == traces.c.id, c.kind == clause.entity, c.name == clause.key)
    if operator.startswith("IS"):
        there = sa.exists().where(*own).correlate(traces)
        return ~there if operator == "IS NULL" else there
    deeper = sa.func.jsonb_extract_path_text(c.value, "serialized_value", "value")
    text = sa.func.coalesce(c.value["value"].astext, deeper)
    if not isinstance(clause.value, float):
        return sa.exists().where(*own, OPERATORS[operator](text, clause.value)).correlate(traces)
    plain = sa.func.jsonb_typeof(c.value["value"]) == "number"
    number = sa.case((plain, sa.cast(c.value["value"].astext, sa.Double)))
    return sa.exists().where(*own, OPERATORS[operator](number, clause.value)).correlate(traces)


def _check(told: Told) -> None:
    if not ID.match(told.id):
        raise invalid(f"Invalid trace id '{told.id[:60]}'")
    if told.state not in STATES:
        raise invalid(f"Invalid state of a trace: '{told.state[:60]}'")
    if not 0 <= told.started_at <= LATEST or not 0 <= (told.duration_ms or 0) <= MAX_INT:
        raise invalid("Invalid time of a trace")
    for text in (told.request, told.response, told.client_id):
        if text is not None and len(text) > MAX_PREVIEW:
            raise invalid(f"a preview of a trace may have {MAX_PREVIEW} characters")
    for pairs in (told.metadata, told.tags):
        check_tags(pairs)
        if len(pairs) > MAX_TAGS:
            raise invalid(f"a trace may have {MAX_TAGS} tags, and as many metadata")
