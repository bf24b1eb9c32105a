"""What is thought of a trace: feedback, what was expected, issues; by people, judges and programs."""

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import sqlalchemy as sa

from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.audit import service as audit
from builderos.trust.ledger import service as ledger

from .grammar import invalid
from .limits import MAX_TAGS, check_name, check_tags
from .model import assessments
from .traces import find

Row = sa.Row[Any]
KINDS: Final = ("feedback", "expectation", "issue")
ID: Final = re.compile(r"a-[0-9a-f]{32}\Z")
MAX_EACH: Final = 200
MAX_VALUE: Final = 64 * 1024
MAX_WORDS: Final = 20_000
MAX_NAME: Final = 250


@dataclass(frozen=True, slots=True)
class Told:
    """An assessment as a client tells it. `value`: JSON by the kind, `value` in it what searches compare."""

    kind: str
    name: str
    value: Mapping[str, Any]
    source: Mapping[str, str]
    rationale: str | None = None
    metadata: Mapping[str, str] | None = None
    span_id: str | None = None
    overrides: str | None = None


def create(unit: Unit, trace_id: str, told: Told) -> Row:
    """Add one; the one that it overrides is valid no more. Raises `not_found`, `validation_failed`."""
    trace, c = find(unit, trace_id, "experiment.write"), assessments.c
    _check(told)
    count = sa.select(sa.func.count()).where(c.trace_id == trace.id)
    if unit.execute(count).scalar_one() >= MAX_EACH:
        raise invalid(f"a trace has at most {MAX_EACH} assessments")
    if told.overrides:
        _of(unit, trace.id, told.overrides)
        unit.execute(sa.update(assessments).where(c.id == told.overrides).values(valid=False))
    row = unit.execute(
        sa.insert(assessments)
        .values(
            org_id=unit.org_id, id=f"a-{secrets.token_hex(16)}", trace_id=trace.id, kind=told.kind, name=told.name,
            value=dict(told.value), source=dict(told.source), rationale=told.rationale,
            metadata=dict(told.metadata or {}), span_id=told.span_id, overrides=told.overrides, valid=True,
            created_by=unit.actor.id, created_at=unit.now, updated_at=unit.now,
        )
        .returning(assessments)
    ).one()  # fmt: skip
    ledger.record(unit, "trace.assessed", trace.id, {"id": row.id, "kind": told.kind, "name": told.name})
    return row


def show(unit: Unit, trace_id: str, id_: str) -> Row:
    """One of them. Raises `not_found`."""
    find(unit, trace_id, "experiment.read")
    audit.access.note(unit, "trace.show", trace_id)
    return _of(unit, trace_id, id_)


def change(
    unit: Unit, trace_id: str, id_: str, *, name: str | None = None, kind: str | None = None,
    value: Mapping[str, Any] | None = None, rationale: str | None = None, metadata: Mapping[str, str] | None = None,
) -> Row:  # fmt: skip
    """Say it otherwise; metadata are added to what there are. Raises `not_found`, `validation_failed`."""
    find(unit, trace_id, "experiment.write")
    row = _of(unit, trace_id, id_)
    if kind is not None and kind != row.kind:
        raise invalid(f"Cannot update {kind} value on an assessment of the kind {row.kind}.")
    told = Told(
        row.kind, row.name if name is None else name, row.value if value is None else value, row.source,
        row.rationale if rationale is None else rationale, {**row.metadata, **(metadata or {})}, row.span_id,
    )  # fmt: skip
    _check(told)
    changed = sa.update(assessments).where(assessments.c.id == id_)
    changed = changed.values(
        name=told.name, value=dict(told.value), rationale=told.rationale, metadata=dict(told.metadata or {}),
        updated_at=unit.now,
    )  # fmt: skip
    ledger.record(unit, "trace.assessed", trace_id, {"id": id_, "kind": row.kind, "name": told.name})
    return unit.execute(changed.returning(assessments)).one()


def remove(unit: Unit, trace_id: str, id_: str) -> None:
    """Take one away; what it overrode is valid again. One that is not there was taken away. Raises `not_found`."""
    find(unit, trace_id, "experiment.write")
    c = assessments.c
    gone = sa.delete(assessments).where(c.trace_id == trace_id, c.id == id_).returning(c.overrides)
    row = unit.execute(gone).one_or_none()
    if row is None:
        return
    if row.overrides:
        unit.execute(sa.update(assessments).where(c.id == row.overrides).values(valid=True))
    ledger.record(unit, "trace.unassessed", trace_id, {"id": id_})


def of_traces(unit: Unit, ids: Sequence[str]) -> dict[str, list[Row]]:
    """All of traces that the actor is known to be allowed to read, the oldest first."""
    c, found = assessments.c, dict[str, list[Row]]()
    if ids:
        rows = unit.execute(
            sa.select(assessments).where(c.trace_id.in_(list(ids))).order_by(c.created_at, c.id)
        )
        for row in rows:
            found.setdefault(row.trace_id, []).append(row)
    return found


def _of(unit: Unit, trace_id: str, id_: str) -> Row:
    c = assessments.c
    row = unit.execute(sa.select(assessments).where(c.trace_id == trace_id, c.id == id_)).one_or_none()
    if row is None:
        raise Problem(
            "not_found", f"Assessment with ID '{id_[:100]}' not found for trace '{trace_id}'",
            hint="Look at the trace.", what="run",
        )  # fmt: skip
    return row


def _check(told: Told) -> None:
    if told.kind not in KINDS:
        raise invalid("Exactly one of `expectation`, `feedback`, or `issue` should be specified.")
    check_name(told.name, "assessment_name", MAX_NAME)
    check_tags(told.metadata or {})
    if len(told.metadata or {}) > MAX_TAGS:
        raise invalid(f"an assessment may have {MAX_TAGS} metadata")
    for text, most in (
        (told.rationale, MAX_WORDS),
        (told.span_id, MAX_NAME),
        *((v, MAX_NAME) for v in told.source.values()),
    ):
        if text is not None and (len(text) > most or "\x00" in text):
            raise invalid(f"a text of an assessment has more than {most} characters, or a NUL character")
    value = orjson.dumps(dict(told.value))
    if len(value) > MAX_VALUE or b"\\u0000" in value:
        raise invalid(f"the value of an assessment may have {MAX_VALUE // 1024} KiB, and no NUL character")
