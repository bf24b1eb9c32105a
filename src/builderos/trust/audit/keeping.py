"""How long things are kept, what must not be forgotten, and how a person is."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.dialects.postgresql import insert

from builderos.core.context import Context
from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.core.schema import In, Line, Out, WriteIn
from builderos.core.unit import Unit, as_system
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy

from . import access
from .model import holds, retention
from .ports import Erasers

ACCESS_DAYS: Final = 400  # a year and a month: a yearly review sees all of its year
Days = Annotated[int | None, Field(ge=1, le=36_500)]


class NothingIn(In):
    """Nothing to say."""


class RetentionIn(WriteIn):
    """For how long; null: as if it had never been set."""

    access_days: Annotated[
        Days, Field(description="Days for which it is kept who read what. [default: 400]")
    ] = None
    words_days: Annotated[
        Days, Field(description="Days for which people's words are kept. [default: always]")
    ] = None


class RetentionOut(Out):
    """Lines of the ledger are kept always: they hold nobody's words."""

    access_days: int
    words_days: int | None


class HoldIn(WriteIn):
    """What is not to be forgotten, and why."""

    subject: Annotated[
        Line | None,
        Field(description="Id of a member or actor whose traces are kept; everybody's when left out."),
    ] = None
    reason: Annotated[Line, Field(min_length=1, description="Why, e.g. the matter's reference.")]


class WhichIn(In):
    """Which one."""

    id: Line


class Hold(Out):
    """While it is not released, neither retention nor erasure takes away what it names."""

    id: str
    subject: str | None
    reason: str
    created_by: str
    created_at: datetime
    released_at: datetime | None


class HoldList(Out):
    """All of them, newest first."""

    items: list[Hold]
    next_cursor: str | None = None


class EraseIn(WriteIn):
    """Whose words."""

    subject: Annotated[Line, Field(min_length=1, description="Id of the member or actor.")]


class Erased(Out):
    """How many texts are gone. The lines that commit to them stay as they are."""

    subject: str
    words: int
    elsewhere: dict[str, int]
    message: str


def show_retention(unit: Unit, _body: NothingIn) -> RetentionOut:
    """What holds now."""
    policy.require(unit, "audit.read", access.resource(unit))
    return _retention(unit)


def set_retention(unit: Unit, body: RetentionIn) -> RetentionOut:
    """Set both terms; a shorter one takes effect with the next nightly run."""
    decision = policy.require(unit, "audit.manage", access.resource(unit))
    values = {"access_days": body.access_days, "words_days": body.words_days}
    wanted = insert(retention).values(org_id=unit.org_id, **values)
    unit.execute(wanted.on_conflict_do_update(index_elements=["org_id"], set_=values))
    ledger.record(unit, "audit.retention", unit.org_id, dict(values), rules=decision.rules)
    return _retention(unit)


def _retention(unit: Unit) -> RetentionOut:
    row = unit.execute(sa.select(retention.c.access_days, retention.c.words_days)).one_or_none()
    access_days, words_days = (row.access_days, row.words_days) if row is not None else (None, None)
    return RetentionOut(access_days=access_days or ACCESS_DAYS, words_days=words_days)


def hold(unit: Unit, body: HoldIn) -> Hold:
    """Forget nothing of this from now on."""
    decision = policy.require(unit, "audit.manage", access.resource(unit))
    values: dict[str, Any] = {
        "id": new_id("hld"), "subject": body.subject, "reason": body.reason, "created_by": unit.actor.id,
        "created_at": unit.now,
    }  # fmt: skip
    unit.execute(sa.insert(holds).values(org_id=unit.org_id, **values))
    payload = {"subject": body.subject, "reason": body.reason}
    ledger.record(unit, "audit.held", values["id"], payload, rules=decision.rules)
    return Hold(**values, released_at=None)


def listed(unit: Unit, _body: NothingIn) -> HoldList:
    """All holds, the released ones too."""
    policy.require(unit, "audit.read", access.resource(unit))
    return HoldList(items=[_hold(row) for row in unit.execute(sa.select(holds).order_by(holds.c.id.desc()))])


def release(unit: Unit, body: WhichIn) -> Hold:
    """End a hold. Raises `not_found`, `illegal_transition` for one that has ended."""
    decision = policy.require(unit, "audit.manage", access.resource(unit))
    row = unit.execute(sa.select(holds).where(holds.c.id == body.id).with_for_update()).one_or_none()
    if row is None:
        raise Problem("not_found", "there is no such hold", hint="List the holds first.")
    if row.released_at is not None:
        raise Problem(
            "illegal_transition", "this hold was released before", hint="Nothing is to be done.", allowed=[]
        )
    ended = {"released_by": unit.actor.id, "released_at": unit.now}
    unit.execute(sa.update(holds).where(holds.c.id == body.id).values(**ended))
    ledger.record(unit, "audit.released", body.id, {"subject": row.subject}, rules=decision.rules)
    return _hold(unit.execute(sa.select(holds).where(holds.c.id == body.id)).one())


def _hold(row: sa.Row[Any]) -> Hold:
    return Hold(
        id=row.id, subject=row.subject, reason=row.reason, created_by=row.created_by, created_at=row.created_at,
        released_at=row.released_at,
    )  # fmt: skip


def held(unit: Unit) -> str | None:
    """What keeps the organisation from being erased: a hold, whomever it names."""
    found = sa.select(holds.c.id).where(holds.c.released_at.is_(None)).limit(1)
    id_ = unit.execute(found).scalar_one_or_none()
    return f"the legal hold {id_}" if id_ is not None else None


def held_by(unit: Unit, subject: str) -> str | None:
    """Id of a legal hold that names this member or actor, or everybody; None where there is none."""
    kept = sa.or_(holds.c.subject.is_(None), holds.c.subject == subject)
    found = sa.select(holds.c.id).where(kept, holds.c.released_at.is_(None)).limit(1)
    return unit.execute(found).scalar_one_or_none()


def erase(unit: Unit, body: EraseIn) -> Erased:
    """Erase what somebody wrote, beside the ledger and in the rooms that keep it; the chain stays as it is.

    Raises `conflict` where a legal hold names this person, or everybody.
    """
    decision = policy.require(unit, "audit.manage", access.resource(unit))
    found = held_by(unit, body.subject)
    if found is not None:
        raise Problem(
            "conflict", f"the legal hold {found} keeps this", hint="Release it first, if you may.", hold=found
        )
    erasers = unit.get(Erasers)
    elsewhere = {name: erasers.get(name)(unit, body.subject) for name in erasers}
    count = ledger.words.forget(unit, subject=body.subject)
    payload = {"words": count, "elsewhere": elsewhere}
    ledger.record(unit, "person.erased", body.subject, payload, rules=decision.rules)
    return Erased(
        subject=body.subject, words=count, elsewhere=elsewhere,
        message="What was written is gone but for requests that still wait; the lines that commit to it still verify.",
    )  # fmt: skip


def forget_old(context: Context, org_id: str) -> int:
    """Take away whose term is over and nobody holds; how many rows. For the schedule."""

    def verb(unit: Unit) -> int:
        terms = _retention(unit)
        count = access.forget(unit, unit.now - timedelta(days=terms.access_days))
        if terms.words_days is not None:
            words = ledger.words.forget(unit, before=unit.now - timedelta(days=terms.words_days))
            if words:
                ledger.record(unit, "words.forgotten", unit.org_id, {"count": words})
            count += words
        return count + int(unit.ask("ops.forget_held_people")[0][0])

    return as_system(context, org_id, verb)
