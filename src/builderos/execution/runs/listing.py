"""Runs in a list: filters, how many there are of each status, and each in the few words that a row shows."""

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from builderos.assets.workspaces import service as workspaces
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.unit import Unit

from .events import run_events
from .model import runs, steps
from .reading import summary
from .rows import OVER, Row
from .schema import RunList, RunListIn, RunRow, Span, StepCounts

SPANS: Final = 24
COUNTED: Final = 20_000  # the newest ones: what a person filters by is not older


def listed(unit: Unit, body: RunListIn) -> RunList:
    """Runs, newest first; a sandbox user sees those on the own branch."""
    c = runs.c
    key = list_key(
        "runs", repo=body.repo_name, branch=body.branch, pipeline=body.pipeline, status=body.status, open=body.open
    )  # fmt: skip
    where = [c.org_id == unit.org_id, *workspaces.within(unit, runs, "run.read", body.repo_name, body.branch)]
    if body.pipeline is not None:
        where.append(c.pipeline == body.pipeline)
    wanted = sa.select(runs).where(*where)
    if body.status is not None:
        wanted = wanted.where(c.status == body.status)
    if body.open is not None:
        wanted = wanted.where(c.status.not_in(OVER) if body.open else c.status.in_(OVER))
    last = decode_cursor(key, body.cursor)
    if last is not None:
        wanted = wanted.where(c.id < str(last[0]))
    rows = unit.execute(wanted.order_by(c.id.desc()).limit(body.limit + 1)).all()
    items = _items(unit, rows[: body.limit], brief=body.brief)
    more = len(rows) > body.limit
    return RunList(
        items=items, next_cursor=encode_cursor(key, [items[-1].id]) if more else None,
        counts=_counts(unit, where) if body.counts and last is None else None,
    )  # fmt: skip


def _counts(unit: Unit, where: Sequence[sa.ColumnElement[bool]]) -> dict[str, int]:
    newest = sa.select(runs.c.status).where(*where).order_by(runs.c.id.desc()).limit(COUNTED).subquery()
    counted = sa.select(newest.c.status, sa.func.count().label("many")).group_by(newest.c.status)
    return {str(row.status): int(row.many) for row in unit.execute(counted)}


def _items(unit: Unit, rows: Sequence[Row], *, brief: bool) -> list[RunRow]:
    said = [summary(row).model_dump() for row in rows]
    if not brief or not rows:
        return [RunRow(**one, steps=None, spans=None) for one in said]
    ids = [row.id for row in rows]
    total, failed, spans = _total(unit, ids), _failed(unit, ids), _spans(unit, ids)
    return [
        RunRow(
            **one, spans=spans.get(row.id, []),
            steps=StepCounts(total=total.get(row.id, 0), failed=failed.get(row.id, 0), open=row.open_steps),
        )
        for one, row in zip(said, rows, strict=True)
    ]  # fmt: skip


def _total(unit: Unit, ids: Sequence[str]) -> dict[str, int]:
    """How many steps there are, as the first event of each run says it: nobody has to count them."""
    e = run_events.c
    wanted = sa.select(e.run_id, e.payload["steps"].as_integer().label("total")).where(
        e.org_id == unit.org_id, e.run_id.in_(ids), e.seq == 1
    )
    return {str(row.run_id): int(row.total or 0) for row in unit.execute(wanted)}


def _failed(unit: Unit, ids: Sequence[str]) -> dict[str, int]:
    c = steps.c
    wanted = (
        sa.select(c.run_id, sa.func.count().label("many"))
        .where(c.run_id.in_(ids), c.error != "")
        .group_by(c.run_id)
    )
    return {str(row.run_id): int(row.many) for row in unit.execute(wanted)}


def _spans(unit: Unit, ids: Sequence[str]) -> dict[str, list[Span]]:
    c = steps.c
    wanted = sa.select(c.run_id, c.lane, c.status, c.started_at, c.ended_at).where(
        c.run_id.in_(ids), c.position < SPANS
    )
    found: dict[str, list[Span]] = {}
    for row in unit.execute(wanted.order_by(c.run_id, c.position)):
        span = Span(lane=row.lane, status=row.status, start=row.started_at, end=row.ended_at)
        found.setdefault(row.run_id, []).append(span)
    return found
