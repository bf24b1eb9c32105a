"""What runs ask people: the open questions that exactly this caller may answer."""

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from builderos.core.unit import Unit
from builderos.trust.notices.ports import Asked
from builderos.trust.policy import service as policy

from .model import runs, steps
from .reading import resource_of
from .rows import Row

_AT_ONCE: Final = 200
_MOST: Final = 2_000  # open questions of others that are looked through for one's own


def for_reader(
    unit: Unit, *, before: str | None, limit: int, without: Collection[str] = (), only: Collection[str] = ()
) -> list[Asked]:
    """Those that the unit's actor may answer, newest first.

    `before` is the part of an id behind its prefix, which sorts by time. `without` some ids, or `only` some.
    """
    id_ = steps.c.waiting["id"].astext
    c = steps.c
    wanted = (
        sa.select(id_.label("question"), c.waiting, c.next_at, runs)
        .join(runs, runs.c.id == c.run_id)
        .where(c.status == "waiting_input", c.next_at > unit.now, id_.is_not(None))
        .order_by(id_.desc())
        .limit(_AT_ONCE)
    )
    if before is not None:
        wanted = wanted.where(id_ < f"qst_{before}")
    if without:
        wanted = wanted.where(id_.not_in(without))
    if only:
        wanted = wanted.where(id_.in_(only))
    found: list[Asked] = []
    allowed: dict[str | None, bool] = {}
    for row in _all(unit, wanted, id_):
        if row.branch_id not in allowed:
            allowed[row.branch_id] = _may_answer(unit, row)
        if allowed[row.branch_id]:
            asked_at = datetime.fromisoformat(row.waiting["asked_at"])
            found.append(Asked(row.question, row.id, row.waiting["message"], asked_at, row.next_at))
        if len(found) >= limit:
            break
    return found


def _all(unit: Unit, wanted: sa.Select[tuple[object, ...]], id_: sa.ColumnElement[str]) -> Iterator[Row]:
    page = unit.execute(wanted).all()
    for _ in range(_MOST // _AT_ONCE):
        yield from page
        if len(page) < _AT_ONCE:
            return
        page = unit.execute(wanted.where(id_ < page[-1].question)).all()


def _may_answer(unit: Unit, run: Row) -> bool:
    return policy.decide(unit, "run.answer", resource_of(unit, run)).verdict == "allow"
