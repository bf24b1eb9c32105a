"""Sends deliveries, each signed with the secrets of its webhook."""

import random
import threading
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from builderos import VERSION
from builderos.core.context import Context
from builderos.core.dialing import Answer, Unreachable, networks_of, post
from builderos.core.settings import Settings
from builderos.core.unit import Unit, as_system
from builderos.engine import outbox
from builderos.trust.ledger import service as ledger
from builderos.trust.secrets.service import redact

from .alerts import raise_alert
from .model import attempts, deliveries, webhooks
from .signatures import SECRET, sign
from .webhooks import secrets_of

GIVE_UP: Final = timedelta(hours=24)
DISABLE: Final = timedelta(days=3)
GONE: Final = 410
TIMEOUT_S: Final = 10
AT_ONCE: Final = 2  # deliveries to one webhook: a slow receiver must not hold all threads of the engine
JITTER: Final = 0.2
_RESPONSE_CHARS: Final = 1000
_DICE: Final = random.SystemRandom()


class Lanes:
    """How many deliveries to each webhook this process has under way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy: Counter[str] = Counter()

    def enter(self, name: str) -> bool:
        """Whether there was room."""
        with self._lock:
            if self._busy[name] >= AT_ONCE:
                return False
            self._busy[name] += 1
            return True

    def leave(self, name: str) -> None:
        """Give the place back."""
        with self._lock:
            self._busy[name] -= 1
            if not self._busy[name]:
                del self._busy[name]


@dataclass(frozen=True)
class _Job:
    delivery_id: str
    webhook_id: str
    url: str
    body: bytes
    headers: dict[str, str]
    secrets: list[str]


def send(context: Context, message: outbox.Message) -> None:
    """The outbox's handler of deliveries. Raises `outbox.Later` until the receiver took it or a day is over."""
    id_ = message.payload["delivery"]
    job = as_system(context, message.org_id, lambda unit: _load(unit, id_))
    if job is None:
        return
    lanes = context.get(Lanes)
    if not lanes.enter(job.webhook_id):
        raise outbox.Later(timedelta(seconds=_DICE.uniform(0.5, 2)), "others are on their way")
    try:
        result = _try(context.get(Settings), job)
    finally:
        lanes.leave(job.webhook_id)
    again = as_system(context, message.org_id, lambda unit: _note(unit, job, result))
    if again is not None:
        raise outbox.Later(again, result if isinstance(result, str) else f"status {result.status}")


def _try(settings: Settings, job: _Job) -> Answer | str:
    """The answer, or why there was none."""
    networks = networks_of(settings.webhook_networks)
    try:
        return post(job.url, job.body, job.headers, networks=networks, timeout_s=TIMEOUT_S)
    except Unreachable as why:
        return str(why)


def _load(unit: Unit, id_: str) -> _Job | None:
    """What is to be sent; None where it is over, or its webhook does not want it any more."""
    row = unit.execute(sa.select(deliveries).where(deliveries.c.id == id_)).one_or_none()
    if row is None or row.state != "pending":
        return None
    hook = unit.execute(sa.select(webhooks).where(webhooks.c.id == row.webhook_id)).one()
    if hook.state != "active":
        _finish(unit, id_, "dropped")
        return None
    keys, stamp, body = secrets_of(unit, hook), int(unit.now.timestamp()), row.body.encode()
    headers = {
        "content-type": "application/json", "user-agent": f"BuilderOS/{VERSION}", "webhook-id": row.event_id,
        "webhook-timestamp": str(stamp), "webhook-signature": sign(keys, row.event_id, stamp, body),
        "connection": "close",
    }  # fmt: skip
    return _Job(id_, hook.id, hook.url, body, headers, keys)


def _note(unit: Unit, job: _Job, result: Answer | str) -> timedelta | None:
    """Write the attempt down; returns the pause before the next one, None where there is none."""
    answer = result if isinstance(result, Answer) else None
    unit.execute(sa.insert(attempts).values(
        org_id=unit.org_id, delivery_id=job.delivery_id, at=unit.now, status=answer.status if answer else None,
        latency_ms=answer.latency_ms if answer else None, error=None if answer else str(result),
        response=_masked(answer.body, job) if answer else None,
    ))  # fmt: skip
    c = deliveries.c
    row = unit.execute(
        sa.update(deliveries).where(c.id == job.delivery_id).values(attempts=c.attempts + 1)
        .returning(c.attempts, c.begun_at)
    ).one()  # fmt: skip
    hook = webhooks.c.id == job.webhook_id
    if answer is not None and 200 <= answer.status < 300:
        _finish(unit, job.delivery_id, "delivered")
        failing = webhooks.c.failing_since.is_not(None)
        unit.execute(sa.update(webhooks).where(hook, failing).values(failing_since=None))
        return None
    since = sa.func.coalesce(webhooks.c.failing_since, unit.now)
    failing = unit.execute(
        sa.update(webhooks)
        .where(hook)
        .values(failing_since=since)
        .returning(webhooks.c.failing_since, webhooks.c.state)
    ).one()
    gone = answer is not None and answer.status == GONE
    if gone or unit.now - failing.failing_since > DISABLE:
        return _disable(unit, job, active=failing.state == "active", gone=gone)
    if unit.now - row.begun_at > GIVE_UP:
        _finish(unit, job.delivery_id, "failed")
        raise_alert(unit, "webhook_failing", job.webhook_id, {"delivery": job.delivery_id})
        return None
    return outbox.backoff(row.attempts - 1) * _DICE.uniform(1 - JITTER, 1 + JITTER)


def _disable(unit: Unit, job: _Job, *, active: bool, gone: bool) -> None:
    """Nobody has taken anything there for days, or the receiver says it is gone for good."""
    _finish(unit, job.delivery_id, "failed")
    if not active:
        return
    why = "the receiver answered 410" if gone else f"nothing was taken for {DISABLE.days} days"
    disabled = sa.update(webhooks).where(webhooks.c.id == job.webhook_id, webhooks.c.state == "active")
    unit.execute(disabled.values(state="disabled"))
    raise_alert(unit, "webhook_disabled", job.webhook_id, {"why": why})
    ledger.record(unit, "webhook.disabled", job.webhook_id, {"why": why})


def _finish(unit: Unit, id_: str, state: str) -> None:
    unit.execute(sa.update(deliveries).where(deliveries.c.id == id_).values(state=state, done_at=unit.now))


def _masked(body: bytes, job: _Job) -> str:
    """The beginning of an answer, as text without control characters, credentials and our own secret."""
    text = body.decode("utf-8", "replace")
    for word in (
        *job.secrets,
        *(s.removeprefix(SECRET) for s in job.secrets),
        job.headers["webhook-signature"],
    ):
        text = text.replace(word, "[removed]")
    shown = "".join(
        char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in redact(text)
    )
    return shown[:_RESPONSE_CHARS]


def matches(hook: sa.Row[Any], type_: str, payload: dict[str, Any]) -> bool:
    """Whether a webhook subscribes to an event: by its type, and by repository and branch where it names them."""
    wanted = any(
        pattern in ("*", type_) or (pattern.endswith(".*") and type_.startswith(pattern[:-1]))
        for pattern in hook.events
    )
    in_repo = hook.repo is None or payload.get("repo") == hook.repo
    return wanted and in_repo and (hook.branch is None or _like(str(payload.get("branch", "")), hook.branch))


def _like(name: str, pattern: str) -> bool:
    """Whether a name fits a pattern in which * is any text; in time that grows with the name alone."""
    first, *rest = pattern.split("*")
    if not rest:
        return name == first
    if not name.startswith(first):
        return False
    at = len(first)
    for part in rest[:-1]:
        found = name.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(name) - at >= len(rest[-1]) and name.endswith(rest[-1])
