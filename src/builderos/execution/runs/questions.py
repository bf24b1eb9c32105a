"""What runs ask people: the open questions that exactly this caller may answer."""

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from builderos.core.actor import Actor
from builderos.core.unit import Unit
from builderos.trust.identity import service as identity
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
    wanted = _open(unit).order_by(id_.desc()).limit(_AT_ONCE)
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
            found.append(_asked(row))
        if len(found) >= limit:
            break
    return found


def find(unit: Unit, question: str) -> Asked | None:
    """An open question, whoever may answer it; None where it is answered, or its time is over."""
    row = _row(unit, question)
    return None if row is None else _asked(row)


def answerers(unit: Unit, question: str) -> list[str]:
    """Members who are people and may answer a question that is open, with the rights of now. Of a workspace it is the
    one who opened it, too: its token answers, and that member has it.
    """
    row = _row(unit, question)
    if row is None:
        return []
    people = [member for member in identity.members.everybody(unit) if member.kind == "person"]
    scopes = frozenset(identity.EVERY_SCOPE)
    asking, found = unit.actor, list[str]()  # the policy judges the actor of a unit
    try:
        for member in people:
            named = Actor(
                member.role, member.id, member.label, unit.org_id, "full", scopes, member_id=member.id
            )
            actor = identity.still(unit, named)  # with the grants of now
            if actor is None:
                continue
            unit.actor = actor
            if _may_answer(unit, row):
                found.append(member.id)
    finally:
        unit.actor = asking
    sandbox_id = resource_of(unit, row).sandbox_id
    opened_by = identity.opener(unit, sandbox_id) if sandbox_id is not None else None
    known = {member.id for member in people}
    return found if opened_by is None or opened_by in found or opened_by not in known else [*found, opened_by]


def _open(unit: Unit) -> sa.Select[Any]:
    c, id_ = steps.c, steps.c.waiting["id"].astext
    return (
        sa.select(id_.label("question"), c.waiting, c.next_at, runs)
        .join(runs, runs.c.id == c.run_id)
        .where(c.status == "waiting_input", c.next_at > unit.now, id_.is_not(None))
    )


def _row(unit: Unit, question: str) -> Row | None:
    return unit.execute(_open(unit).where(steps.c.waiting["id"].astext == question)).one_or_none()


def _asked(row: Row) -> Asked:
    asked_at = datetime.fromisoformat(row.waiting["asked_at"])
    return Asked(row.question, row.id, row.waiting["message"], asked_at, row.next_at)


def _all(unit: Unit, wanted: sa.Select[tuple[object, ...]], id_: sa.ColumnElement[str]) -> Iterator[Row]:
    page = unit.execute(wanted).all()
    for _ in range(_MOST // _AT_ONCE):
        yield from page
        if len(page) < _AT_ONCE:
            return
        page = unit.execute(wanted.where(id_ < page[-1].question)).all()


def _may_answer(unit: Unit, run: Row) -> bool:
    return policy.decide(unit, "run.answer", resource_of(unit, run)).verdict == "allow"
