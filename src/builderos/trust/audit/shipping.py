"""Carries the record to its sinks: in order, in signed batches, at least once.

A sink's cursor moves only after its batch was taken. Who dies in between sends that batch again, and rows have numbers
by which a receiver knows them. A sink that takes nothing is tried again for as long as it exists; the others do not
wait for it.
"""

import hashlib
import json
import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from builderos.core.clock import rfc3339
from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.unit import Unit, as_system
from builderos.engine import outbox
from builderos.trust.ledger import service as ledger
from builderos.trust.signing.service import Signer

from . import access
from .model import sinks
from .ports import Alarms, Batch, Carriers, NotTaken
from .sinks import MESSAGE, secrets_of

PER_BATCH: Final = 500
BATCHES: Final = 40  # of one message: a sink that is far behind lets others have a turn
FAILING: Final = timedelta(hours=1)  # after which somebody is told
MAX_PAUSE_S: Final = 900
_FIRST_PAUSE_S: Final = 2
_DICE: Final = random.SystemRandom()


def wake(context: Context) -> None:
    """Put a message into the outbox for every sink that is behind."""
    with context.get(Database).as_server() as connection:
        behind = [str(row[0]) for row in connection.execute("select ops.sink_orgs()")]
    for org_id in behind:
        as_system(context, org_id, _wake)


def _wake(unit: Unit) -> None:
    rows = unit.execute(
        sa.select(sinks.c.id, sinks.c.cursor, sinks.c.stream).where(sinks.c.state == "active")
    ).all()
    if not rows:
        return
    ends = {"ledger": ledger.stored_head(unit)[0], "access": access.settled(unit)}
    under_way = {key.partition(":")[0] for key in outbox.pending(unit, MESSAGE)}
    for row in rows:
        if row.cursor < ends[row.stream] and row.id not in under_way:
            outbox.put(unit, MESSAGE, f"{row.id}:{row.cursor}:{ends[row.stream]}", {"sink": row.id})


def carry(context: Context, message: outbox.Message) -> None:
    """The outbox's handler. Raises `outbox.Later` where the sink took nothing, or there is more."""
    id_: str = message.payload["sink"]
    if message.payload.get("test"):
        _test(context, message.org_id, id_)
        return
    for _ in range(BATCHES):
        try:
            if not _carry_one(context, message.org_id, id_):
                return
        except NotTaken as why:
            pause = min(MAX_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(message.attempts, 12)) * _DICE.uniform(
                0.8, 1.2
            )
            raise outbox.Later(timedelta(seconds=pause), str(why)) from why
    raise outbox.Later(timedelta(0), "there is more")


def _carry_one(context: Context, org_id: str, id_: str) -> bool:
    """Carry the next batch; whether there was one."""
    job = as_system(context, org_id, lambda unit: _load(unit, id_), read_only=True, settled=True)
    if job is None:
        return False
    kind, config, secrets, batch = job
    try:
        context.get(Carriers).get(kind).carry(config, secrets, batch)
    except NotTaken as why:
        reason = str(why)[:500]
        as_system(context, org_id, lambda unit: _note_failure(unit, id_, reason))
        raise
    as_system(context, org_id, lambda unit: _move(unit, id_, batch))
    return True


def _load(unit: Unit, id_: str) -> tuple[str, dict[str, Any], dict[str, str], Batch] | None:
    row = unit.execute(sa.select(sinks).where(sinks.c.id == id_, sinks.c.state == "active")).one_or_none()
    if row is None:
        return None
    first, rows = _rows(unit, row.stream, row.cursor)
    if not rows:
        return None
    last = first[-1]
    return row.kind, row.config, secrets_of(unit, row), signed(unit, id_, row.stream, first[0], last, rows)


def _rows(unit: Unit, stream: str, after: int) -> tuple[list[int], list[str]]:
    """Numbers and rows behind a cursor: of the ledger as an export has them."""
    if stream == "ledger":
        rows = ledger.export_rows(unit, after, after + PER_BATCH).split("\n")[:-1]
        return [after + 1 + n for n in range(len(rows))], rows
    found = access.rows_after(unit, after, access.settled(unit), PER_BATCH)
    return [row["id"] for row in found], [access.as_json(row) for row in found]


def text_of(org_id: str, stream: str, first: int, last: int, sha256: str, at: str) -> bytes:
    """What a batch's signature covers. Nothing else that this server signs begins like it."""
    return f"builderos/batch\n{org_id}\n{stream}\n{first}\n{last}\n{sha256}\n{at}\n".encode()


def signed(unit: Unit, id_: str, stream: str, first: int, last: int, rows: Sequence[str]) -> Batch:
    """A batch with its signature."""
    signer, at = unit.get(Signer), rfc3339(unit.now)
    sha256 = hashlib.sha256("".join(f"{row}\n" for row in rows).encode()).hexdigest()
    signature = signer.sign_text(text_of(unit.org_id, stream, first, last, sha256, at))
    return Batch(unit.org_id, id_, stream, first, last, tuple(rows), sha256, at, signature, signer.public_key)


def _move(unit: Unit, id_: str, batch: Batch) -> None:
    """The batch was taken. A cursor that has gone further meanwhile stays there."""
    wanted = sa.update(sinks).where(sinks.c.id == id_, sinks.c.cursor < batch.last)
    unit.execute(wanted.values(cursor=batch.last, last_at=unit.now, failing_since=None, last_error=None))


def _note_failure(unit: Unit, id_: str, reason: str) -> None:
    since = sa.func.coalesce(sinks.c.failing_since, unit.now)
    row = unit.execute(
        sa.update(sinks).where(sinks.c.id == id_).values(failing_since=since, last_error=reason)
        .returning(sinks.c.failing_since, sinks.c.name)
    ).one()  # fmt: skip
    if row.failing_since <= unit.now - FAILING:
        unit.get(Alarms).ring(unit, "sink_failing", id_, {"name": row.name, "error": reason})


def _test(context: Context, org_id: str, id_: str) -> None:
    def load(unit: Unit) -> tuple[str, dict[str, Any], dict[str, str], Batch] | None:
        row = unit.execute(sa.select(sinks).where(sinks.c.id == id_, sinks.c.state == "active")).one_or_none()
        if row is None:
            return None
        said = json.dumps({"test": True, "org_id": org_id, "sink": id_, "at": rfc3339(unit.now)})
        return row.kind, row.config, secrets_of(unit, row), signed(unit, id_, "test", 0, 0, [said])

    job = as_system(context, org_id, load, read_only=True)
    if job is None:
        return
    kind, config, secrets, batch = job
    error: str | None = None
    try:
        context.get(Carriers).get(kind).carry(config, secrets, batch)
    except NotTaken as why:
        error = str(why)[:500]

    def note(unit: Unit) -> None:
        unit.execute(sa.update(sinks).where(sinks.c.id == id_).values(tested_at=unit.now, test_error=error))

    as_system(context, org_id, note)
