"""One person's inbox: what waits for exactly this person, with what has been read, and what comes by mail."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.dialects.postgresql import insert

from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.schema import In, Line, Out, WriteIn
from builderos.core.unit import Unit
from builderos.trust.policy import service as policy
from builderos.trust.policy.service import approvals, waiting

from .model import alerts, preferences, reads
from .ports import Asked, Questions

MAX_UNREAD: Final = 200
_QUESTIONS: Final = timedelta(days=90)  # longer than a question stays open
Kind = Literal["approval", "alert", "question"]
MailAlerts = Literal["none", "critical", "warning", "info"]


class InboxIn(In):
    """Filters of the inbox."""

    kind: Kind | None = None
    unread: Annotated[bool, Field(description="Only what you have not read.")] = False
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class InboxItem(Out):
    """One thing that waits. `weight` is the risk of an approval, or the severity of an alert; `object` of a question is
    the run that is answered.
    """

    id: str
    kind: Kind
    title: str
    object: str
    weight: str
    at: datetime
    expires_at: datetime | None
    read: bool
    link: str


class InboxPage(Out):
    """One page, newest first. `unread` counts all of it, not the page alone, up to 200."""

    items: list[InboxItem]
    unread: int
    next_cursor: str | None


class ReadIn(WriteIn):
    """What was read, or is to be shown as unread again."""

    items: Annotated[
        list[Line], Field(description="Ids of things in your inbox.", min_length=1, max_length=200)
    ]
    read: bool = True


class ReadOut(Out):
    """What is marked now."""

    items: list[str]
    read: bool
    message: str


class PreferencesIn(WriteIn):
    """What comes by mail; what is left out stays."""

    mail_approvals: Annotated[bool | None, Field(description="Requests that you may decide about.")] = None
    mail_alerts: Annotated[
        MailAlerts | None, Field(description="Alerts of at least this severity; for owners and admins.")
    ] = None


class PreferencesShowIn(In):
    """Nothing to say: they are your own."""


class Preferences(Out):
    """What comes to you by mail. `mail_configured`: whether this server can send any."""

    mail_approvals: bool
    mail_alerts: MailAlerts
    mail_configured: bool


DEFAULTS: Final[dict[str, Any]] = {"mail_approvals": True, "mail_alerts": "critical"}


def listed(unit: Unit, body: InboxIn) -> InboxPage:
    """What waits for the caller, newest first: requests that this one may decide about, questions, alerts."""
    policy.require(unit, "inbox.read", policy.org_resource(unit))
    key = list_key("inbox", kind=body.kind, unread=body.unread)
    last = decode_cursor(key, body.cursor)
    before = str(last[0]) if last is not None else None
    found = _found(unit, body.kind, body.unread, before, body.limit + 1)
    items = found[: body.limit]
    more = len(found) > body.limit
    unread = len(_found(unit, body.kind, True, None, MAX_UNREAD))
    return InboxPage(
        items=items, unread=unread, next_cursor=encode_cursor(key, [_time_of(items[-1].id)]) if more else None
    )


def mark(unit: Unit, body: ReadIn) -> ReadOut:
    """Remember what the caller has read. Raises `not_found` for what is not in the own inbox."""
    policy.require(unit, "inbox.read", policy.org_resource(unit))
    me, ids = waiting.voice_of(unit.actor), list(dict.fromkeys(body.items))
    if set(ids) - _mine(unit, ids):
        raise Problem("not_found", "there is no such thing in your inbox", hint="List the inbox first.")
    if body.read:
        rows = [{"org_id": unit.org_id, "reader": me, "item": id_, "at": unit.now} for id_ in ids]
        unit.execute(insert(reads).values(rows).on_conflict_do_nothing())
    else:
        unit.execute(sa.delete(reads).where(reads.c.reader == me, reads.c.item.in_(ids)))
    return ReadOut(
        items=ids, read=body.read, message=f"{len(ids)} marked as {'read' if body.read else 'unread'}."
    )


def show_preferences(unit: Unit, _body: In) -> Preferences:
    """What comes to the caller by mail."""
    policy.require(unit, "inbox.read", policy.org_resource(unit))
    return _preferences(unit, waiting.voice_of(unit.actor))


def set_preferences(unit: Unit, body: PreferencesIn) -> Preferences:
    """Choose what comes by mail."""
    policy.require(unit, "inbox.read", policy.org_resource(unit))
    me = waiting.voice_of(unit.actor)
    named = {n: v for n in DEFAULTS if (v := getattr(body, n)) is not None}
    if not named:
        raise Problem(
            "validation_failed", "nothing is to be changed", hint="Send mail_approvals or mail_alerts."
        )
    statement = insert(preferences).values(org_id=unit.org_id, reader=me, **(DEFAULTS | named))
    unit.execute(statement.on_conflict_do_update(index_elements=["org_id", "reader"], set_=named))
    return _preferences(unit, me)


def preferences_of(unit: Unit, readers: list[str]) -> dict[str, dict[str, Any]]:
    """What each of these wants by mail."""
    c = preferences.c
    rows = unit.execute(sa.select(c.reader, c.mail_approvals, c.mail_alerts).where(c.reader.in_(readers)))
    told = {r.reader: {"mail_approvals": r.mail_approvals, "mail_alerts": r.mail_alerts} for r in rows}
    return {reader: told.get(reader, DEFAULTS) for reader in readers}


def sweep(unit: Unit) -> int:
    """Forget marks of what is over; returns how many."""
    over = sa.select(alerts.c.id).where(alerts.c.state == "resolved")
    asked = reads.c.item.startswith("qst_") & (reads.c.at < unit.now - _QUESTIONS)
    old = reads.c.item.in_(over) | reads.c.item.in_(approvals.over()) | asked
    return unit.execute(sa.delete(reads).where(old)).rowcount


def _found(unit: Unit, kind: Kind | None, unread: bool, before: str | None, limit: int) -> list[InboxItem]:
    """Approvals, questions and alerts in one order: by the time in their ids."""
    read = {row.item for row in unit.execute(sa.select(reads.c.item).where(_my_marks(unit)))}
    skip = read if unread else set[str]()
    items: list[InboxItem] = []
    if kind in (None, "approval"):
        asked = waiting.for_reader(unit, before=before, limit=limit, without=skip)
        items += [_of_approval(unit, approval, read) for approval in asked]
    if kind in (None, "question"):
        questions = unit.get(Questions).for_reader(unit, before=before, limit=limit, without=skip)
        items += [_of_question(unit, asked, read) for asked in questions]
    if (
        kind in (None, "alert")
        and policy.decide(unit, "alert.read", policy.org_resource(unit)).verdict == "allow"
    ):
        items += [_of_alert(unit, row, read) for row in _open_alerts(unit, before, limit, skip)]
    return sorted(items, key=lambda item: _time_of(item.id), reverse=True)[:limit]


def _open_alerts(unit: Unit, before: str | None, limit: int, without: set[str]) -> list[sa.Row[Any]]:
    wanted = sa.select(alerts).where(alerts.c.state == "open").order_by(alerts.c.id.desc()).limit(limit)
    if before is not None:
        wanted = wanted.where(alerts.c.id < f"alt_{before}")
    if without:
        wanted = wanted.where(alerts.c.id.not_in(without))
    return list(unit.execute(wanted).all())


def _mine(unit: Unit, ids: list[str]) -> set[str]:
    """Which of these ids are in the caller's inbox."""
    asked = {a.id for a in waiting.for_reader(unit, before=None, limit=len(ids), only=set(ids))}
    asked |= {q.id for q in unit.get(Questions).for_reader(unit, before=None, limit=len(ids), only=set(ids))}
    if policy.decide(unit, "alert.read", policy.org_resource(unit)).verdict != "allow":
        return asked
    known = sa.select(alerts.c.id).where(alerts.c.id.in_(ids))
    return asked | set(unit.execute(known).scalars())


def _my_marks(unit: Unit) -> sa.ColumnElement[bool]:
    return reads.c.reader == waiting.voice_of(unit.actor)


def _of_approval(unit: Unit, approval: policy.Approval, read: set[str]) -> InboxItem:
    return InboxItem(
        id=approval.id, kind="approval", title=approval.reason, object=approval.object, weight=approval.risk,
        at=approval.created_at, expires_at=approval.expires_at, read=approval.id in read,
        link=approvals.link_to(unit.settings, approval.id),
    )  # fmt: skip


def _of_question(unit: Unit, asked: Asked, read: set[str]) -> InboxItem:
    return InboxItem(
        id=asked.id, kind="question", title=asked.message, object=asked.run_id, weight="question", at=asked.at,
        expires_at=asked.expires_at, read=asked.id in read, link=f"{unit.settings.address}/v1/runs/{asked.run_id}",
    )  # fmt: skip


def _of_alert(unit: Unit, row: sa.Row[Any], read: set[str]) -> InboxItem:
    return InboxItem(
        id=row.id, kind="alert", title=f"{row.rule.replace('_', ' ')} ({row.count})", object=row.object,
        weight=row.severity, at=row.first_at, expires_at=None, read=row.id in read,
        link=f"{unit.settings.address}/v1/alerts?rule={row.rule}",
    )  # fmt: skip


def _preferences(unit: Unit, reader: str) -> Preferences:
    chosen = preferences_of(unit, [reader])[reader]
    return Preferences(**chosen, mail_configured=unit.settings.smtp_url is not None)


def _time_of(id_: str) -> str:
    return id_.partition("_")[2]
