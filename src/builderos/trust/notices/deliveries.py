"""What was sent to a webhook, or is to be: the log, a try-out, and sending anew."""

import json
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

import sqlalchemy as sa
from pydantic import Field

from builderos.core.clock import rfc3339
from builderos.core.ids import new_id
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.schema import In, Line, Out, WriteIn
from builderos.core.unit import Unit
from builderos.engine import outbox
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy

from . import webhooks
from .model import attempts, deliveries

KIND: Final = "webhook"
KEPT: Final = timedelta(days=30)
MAX_REDELIVERED: Final = 200
State = Literal["pending", "delivered", "failed", "dropped"]


class DeliveryListIn(In):
    """Whose deliveries, and which."""

    id: Line
    state: State | None = None
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class DeliveryIn(In):
    """Which delivery."""

    id: Line


class PingIn(WriteIn):
    """Which webhook is to be tried."""

    id: Line


class RedeliverIn(WriteIn):
    """What is to be sent anew: one delivery, or all that were given up."""

    id: Line
    delivery_id: Line | None = None
    failed: Annotated[bool, Field(description="All that failed or were dropped, oldest first.")] = False


class Attempt(Out):
    """One try. `response` is the beginning of the answer, with credentials masked."""

    at: datetime
    status: int | None
    latency_ms: int | None
    error: str | None
    response: str | None


class Delivery(Out):
    """One event for one webhook. `failed`: given up; `dropped`: the webhook was not active when its turn came."""

    id: str
    webhook_id: str
    event_id: str
    type: str
    state: State
    attempts: int
    created_at: datetime
    done_at: datetime | None
    last: Attempt | None


class DeliveryWhole(Delivery):
    """A delivery with the exact body and its newest tries, newest first."""

    body: str
    tries: list[Attempt]


class DeliveryList(Out):
    """One page, newest first."""

    items: list[Delivery]
    next_cursor: str | None


class Redelivered(Out):
    """How many deliveries begin anew."""

    count: int
    message: str


def listed(unit: Unit, body: DeliveryListIn) -> DeliveryList:
    """The log of a webhook, newest first."""
    policy.require(unit, "webhook.read", policy.org_resource(unit))
    webhooks.find(unit, body.id)
    key = list_key("deliveries", id=body.id, state=body.state)
    c = deliveries.c
    wanted = sa.select(deliveries).where(c.webhook_id == body.id).order_by(c.id.desc()).limit(body.limit + 1)
    if body.state is not None:
        wanted = wanted.where(c.state == body.state)
    last = decode_cursor(key, body.cursor)
    if last is not None:
        wanted = wanted.where(c.id < str(last[0]))
    rows = unit.execute(wanted).all()
    page = rows[: body.limit]
    newest = _newest_attempts(unit, [row.id for row in page])
    items = [Delivery(**_shown(row), last=newest.get(row.id)) for row in page]
    more = len(rows) > body.limit
    return DeliveryList(items=items, next_cursor=encode_cursor(key, [items[-1].id]) if more else None)


def show(unit: Unit, body: DeliveryIn) -> DeliveryWhole:
    """One delivery with what was sent and how it went. Raises `not_found`."""
    policy.require(unit, "webhook.read", policy.org_resource(unit))
    row = unit.execute(sa.select(deliveries).where(deliveries.c.id == body.id)).one_or_none()
    if row is None:
        raise _unknown()
    tried = (
        sa.select(attempts).where(attempts.c.delivery_id == row.id).order_by(attempts.c.id.desc()).limit(50)
    )
    tries = [_attempt(found) for found in unit.execute(tried)]
    return DeliveryWhole(**_shown(row), last=tries[0] if tries else None, body=row.body, tries=tries)


def ping(unit: Unit, body: PingIn) -> Delivery:
    """Send a webhook an event of its own, whatever it subscribes to. Raises `illegal_transition` unless active."""
    decision = policy.require(unit, "webhook.manage", policy.org_resource(unit))
    hook = webhooks.find(unit, body.id)
    if hook.state != "active":
        raise _not_active(hook.state)
    event = new_id("evt")
    said: dict[str, Any] = {"id": event, "type": webhooks.PING, "at": rfc3339(unit.now), "org_id": unit.org_id,
            "object": hook.id, "actor": unit.actor.id, "actor_name": unit.actor.name, "data": {}}  # fmt: skip
    id_ = queue(unit, hook.id, said)
    ledger.record(unit, "webhook.pinged", hook.id, {"delivery": id_}, rules=decision.rules)
    row = unit.execute(sa.select(deliveries).where(deliveries.c.id == id_)).one()
    return Delivery(**_shown(row), last=None)


def redeliver(unit: Unit, body: RedeliverIn) -> Redelivered:
    """Send anew, under the event's own id: a receiver that had it already can tell.

    Raises `illegal_transition` for one that is still tried, or a webhook that is not active.
    """
    decision = policy.require(unit, "webhook.manage", policy.org_resource(unit))
    if (body.delivery_id is None) == (not body.failed):
        raise Problem("validation_failed", "send delivery_id, or failed: true", hint="One of the two.")
    hook = webhooks.find(unit, body.id)
    if hook.state != "active":
        raise _not_active(hook.state)
    c = deliveries.c
    wanted = sa.select(c.id, c.state, c.round).where(c.webhook_id == hook.id).order_by(c.id).with_for_update()
    if body.delivery_id is not None:
        wanted = wanted.where(c.id == body.delivery_id)
    else:
        wanted = wanted.where(c.state.in_(("failed", "dropped"))).limit(MAX_REDELIVERED)
    rows = unit.execute(wanted).all()
    if body.delivery_id is not None and not rows:
        raise _unknown()
    if any(row.state == "pending" for row in rows):
        raise Problem("illegal_transition", "this delivery is still tried", hint="Wait for it.", allowed=[])
    for row in rows:
        again = {
            "state": "pending",
            "attempts": 0,
            "round": row.round + 1,
            "begun_at": unit.now,
            "done_at": None,
        }
        unit.execute(sa.update(deliveries).where(c.id == row.id).values(**again))
        outbox.put(unit, KIND, f"{row.id}:{row.round + 1}", {"delivery": row.id})
    ledger.record(unit, "webhook.redelivered", hook.id, {"count": len(rows)}, rules=decision.rules)
    return Redelivered(count=len(rows), message=f"{len(rows)} deliveries begin anew.")


def forget(unit: Unit, who: str) -> int:
    """Take away what was sent, or is to be, about somebody (a member's or actor's id); returns how many deliveries.

    A webhook hears nothing of them any more; what it took before is out of reach.
    """
    named = deliveries.c.body.contains(json.dumps(who, ensure_ascii=False), autoescape=True)
    return unit.execute(sa.delete(deliveries).where(named)).rowcount


def queue(unit: Unit, webhook_id: str, event: dict[str, Any]) -> str:
    """Have an event sent to a webhook once this unit is durable; returns the id of the delivery."""
    id_ = new_id("dlv")
    unit.execute(sa.insert(deliveries).values(
        id=id_, org_id=unit.org_id, webhook_id=webhook_id, event_id=event["id"], type=event["type"],
        body=json.dumps(event, ensure_ascii=False, separators=(",", ":")), state="pending", attempts=0, round=0,
        created_at=unit.now, begun_at=unit.now,
    ))  # fmt: skip
    outbox.put(unit, KIND, f"{id_}:0", {"delivery": id_})
    return id_


def sweep(unit: Unit) -> int:
    """Forget deliveries that ended a month ago; returns how many."""
    return unit.execute(sa.delete(deliveries).where(deliveries.c.done_at < unit.now - KEPT)).rowcount


def _newest_attempts(unit: Unit, ids: list[str]) -> dict[str, Attempt]:
    c = attempts.c
    newest = sa.select(sa.func.max(c.id)).where(c.delivery_id.in_(ids)).group_by(c.delivery_id)
    rows = unit.execute(sa.select(attempts).where(c.id.in_(newest))).all() if ids else ()
    return {row.delivery_id: _attempt(row) for row in rows}


def _attempt(row: sa.Row[Any]) -> Attempt:
    return Attempt(
        at=row.at, status=row.status, latency_ms=row.latency_ms, error=row.error, response=row.response
    )


def _shown(row: sa.Row[Any]) -> dict[str, Any]:
    return {"id": row.id, "webhook_id": row.webhook_id, "event_id": row.event_id, "type": row.type,
            "state": row.state, "attempts": row.attempts, "created_at": row.created_at,
            "done_at": row.done_at}  # fmt: skip


def _unknown() -> Problem:
    return Problem("not_found", "there is no such delivery", hint="List the deliveries of the webhook first.")


def _not_active(state: str) -> Problem:
    return Problem(
        "illegal_transition",
        f"the webhook is {state}",
        hint="Set its state to active first.",
        allowed=["active"],
    )
