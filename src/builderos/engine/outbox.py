"""Effects on the outside world: written down in the unit's transaction, carried out after it, at least once.

`put` stores what is to be done; a handler enrolled under the message's kind does it. A message is done only when its
handler has returned, so a process that dies in between does it again: handlers hand `key` on as the idempotency key.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, insert

from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.registry import Registry
from builderos.core.tables import metadata
from builderos.core.unit import Unit, as_system

messages = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("payload", JSONB, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("done_at", sa.DateTime(timezone=True)),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("last_error", sa.Text),
)

MAX_PAUSE: Final = timedelta(hours=1)
KEPT: Final = timedelta(days=7)
_FIRST_PAUSE_S: Final = 5
_PER_PASS: Final = 50
_ERROR_CHARS: Final = 500


@dataclass(frozen=True, slots=True)
class Message:
    """What a handler is asked to do. `key` is unique per organisation and kind; `attempts` counts failed rounds."""

    id: int
    org_id: str
    kind: str
    key: str
    payload: Any
    attempts: int


@dataclass(frozen=True, slots=True)
class Due:
    """A message whose time has come; `round` makes one durable workflow per attempt."""

    id: int
    org_id: str
    round: int


Handler: TypeAlias = Callable[[Context, Message], None]
"""Does the effect. Returning means it has happened; raising means that it is tried again later."""


class Later(Exception):
    """A handler's word that its message waits for `pause`: no quick attempts before, no pause of ours behind."""

    def __init__(self, pause: timedelta, reason: str) -> None:
        super().__init__(reason)
        self.pause = pause


class Handlers(Registry[Handler]):
    """Handlers by kind of message."""

    def __init__(self) -> None:
        super().__init__("outbox handler")


class Bell:
    """Wakes this process's dispatcher; other processes notice a message when they look next."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def ring(self) -> None:
        """There may be something to do."""
        self._event.set()

    def wait(self, timeout_s: float) -> None:
        """Return when it rang since the last wait, or after `timeout_s`."""
        self._event.wait(timeout_s)
        self._event.clear()


def put(unit: Unit, kind: str, key: str, payload: dict[str, Any]) -> bool:
    """Have an effect carried out once this unit is durable; False when the same kind and key is there already.

    `payload` is JSON and holds no secret: it is stored in plain text.
    """
    statement = insert(messages).values(
        org_id=unit.org_id,
        kind=kind,
        key=key,
        payload=payload,
        created_at=unit.now,
        next_at=unit.now,
        attempts=0,
    )
    done = unit.execute(
        statement.on_conflict_do_nothing(index_elements=["org_id", "kind", "key"]).returning(messages.c.id)
    )
    ring(unit)
    return done.first() is not None


def ring(unit: Unit) -> None:
    """Have whoever passes things on look once this unit is durable, instead of some seconds later."""
    unit.after_commit(unit.get(Bell).ring)


def due(context: Context) -> list[Due]:
    """Messages of all organisations whose time has come, oldest first within each."""
    found: list[Due] = []
    for org_id in context.get(Database).organisations("outbox"):
        found += as_system(context, org_id, _due, read_only=True)
    return found


def _due(unit: Unit) -> list[Due]:
    c = messages.c
    wanted = sa.select(c.id, c.attempts).where(c.done_at.is_(None), c.next_at <= unit.now)
    rows = unit.execute(wanted.order_by(c.id).limit(_PER_PASS))
    return [Due(row.id, unit.org_id, row.attempts) for row in rows]


def deliver(context: Context, handlers: Handlers, org_id: str, message_id: int) -> None:
    """Hand one message to its handler and mark it done. Raises what the handler raises, `KeyError` without one."""
    message = as_system(context, org_id, lambda unit: _waiting(unit, message_id))
    if message is None:
        return
    try:
        handlers.get(message.kind)(context, message)
    except Later as later:
        wait, reason = later.pause, str(later)
        as_system(context, org_id, lambda unit: _wait(unit, message, wait, reason))
        return
    as_system(context, org_id, lambda unit: _mark(unit, message_id, done_at=unit.now, last_error=None))


def postpone(context: Context, org_id: str, message_id: int, error: str) -> None:
    """Note a failed round: the pause doubles from 5 s up to an hour, and never becomes a giving up."""

    def verb(unit: Unit) -> None:
        message = _waiting(unit, message_id)
        if message is None:
            return
        _wait(unit, message, backoff(message.attempts), error)

    as_system(context, org_id, verb)


def backoff(attempts: int) -> timedelta:
    """The pause after so many failed rounds before: 5 s, doubled each time, at most an hour."""
    return min(MAX_PAUSE, timedelta(seconds=_FIRST_PAUSE_S * 2 ** min(attempts, 20)))


def sweep(unit: Unit) -> int:
    """Forget what was done more than a week ago; returns how many."""
    return unit.execute(sa.delete(messages).where(messages.c.done_at < unit.now - KEPT)).rowcount


def stuck(unit: Unit) -> list[tuple[str, str, int, str]]:
    """Kind, key, rounds and last error of messages that failed and wait for another round."""
    c = messages.c
    wanted = sa.select(c.kind, c.key, c.attempts, c.last_error).where(c.done_at.is_(None), c.attempts > 0)
    return [tuple(row) for row in unit.execute(wanted.order_by(c.id).limit(_PER_PASS))]


def pending(unit: Unit, kind: str) -> list[str]:
    """Keys of the messages of a kind that are not done."""
    c = messages.c
    wanted = sa.select(c.key).where(c.kind == kind, c.done_at.is_(None))
    return list(unit.execute(wanted.order_by(c.id)).scalars())


def _waiting(unit: Unit, message_id: int) -> Message | None:
    c = messages.c
    row = unit.execute(
        sa.select(c.id, c.org_id, c.kind, c.key, c.payload, c.attempts).where(
            c.id == message_id, c.done_at.is_(None)
        )
    ).one_or_none()
    return Message(*row) if row else None


def _wait(unit: Unit, message: Message, pause: timedelta, reason: str) -> None:
    error, rounds = reason[:_ERROR_CHARS], message.attempts + 1
    _mark(unit, message.id, attempts=rounds, last_error=error, next_at=unit.now + pause)


def _mark(unit: Unit, message_id: int, **values: Any) -> None:
    unit.execute(sa.update(messages).where(messages.c.id == message_id).values(**values))
