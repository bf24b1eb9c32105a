"""Uploads in parts, each acknowledged when it is on disk: whoever was cut off asks how far it got, and goes on there.

Nobody gets content by naming its hash: all bytes have to come, even where they are here already.
"""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from builderos.core.context import Context
from builderos.core.ids import new_id
from builderos.core.paths import check_path
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.core.unit import Call, Unit, perform
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy

from . import media
from .hashing import Missing, Sum, Summing
from .keeping import Prepared, Ways, keep, lock_space, put, spend, too_large, ways
from .model import uploads
from .places import Stores
from .ports import ArtifactStore, Part, RunFacts, Runs
from .reading import mine, resource
from .schema import Artifact, DeleteIn, Upload, UploadGone, UploadIn, WhichIn

LEASE: Final = timedelta(minutes=2)
MOST: Final = 100  # uploads of an organisation that go on at one time
_START: Final = 8192
_REMEMBERED: Final = 64


class Progress:
    """Sums of uploads that this process has seen from their beginning: so that they are not read again at the end."""

    def __init__(self) -> None:
        self._sums: OrderedDict[str, Summing] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, upload_id: str, offset: int) -> Summing | None:
        """The sum up to `offset`; None where this process does not have it."""
        with self._lock:
            found = self._sums.pop(upload_id, None)
        if offset == 0:
            return Summing()
        return found if found is not None and found.size == offset else None

    def give(self, upload_id: str, summing: Summing) -> None:
        """Remember a sum."""
        with self._lock:
            self._sums[upload_id] = summing
            while len(self._sums) > _REMEMBERED:
                self._sums.popitem(last=False)


def start(unit: Unit, body: UploadIn) -> Upload:
    """Say what will come. Raises `invalid_path`, `payload_too_large`, `quota_exceeded`, `not_found` for the run."""
    check_path(body.path)
    facts = mine(unit)
    if body.run_id is not None:
        found = unit.get(Runs).find(unit, body.run_id)
        own = unit.actor.sandbox_id
        if found is None or (own is not None and found.sandbox_id != own):
            policy.require(unit, "artifact.write", resource(unit, "new", facts))
            raise Problem(
                "not_found", "there is no such run", hint="Leave run_id out, or name a run of yours."
            )
        facts = found
    decision = policy.require(unit, "artifact.write", resource(unit, "new", facts))
    if body.size > unit.settings.max_artifact:
        raise too_large(unit.settings.max_artifact)
    used = lock_space(unit)
    both = sa.select(
        sa.func.count().label("open"), sa.func.coalesce(sa.func.sum(uploads.c.size), 0).label("size")
    )
    waiting = unit.execute(both).one()
    if waiting.open >= MOST:
        raise Problem(
            "quota_exceeded", f"{MOST} uploads go on at one time", hint="End or delete one first.", limit=MOST,
            used=waiting.open, resets_at=None,
        )  # fmt: skip
    spend(unit, used + int(waiting.size), body.size)
    values: dict[str, Any] = {
        "id": new_id("upl"), "org_id": unit.org_id, "run_id": body.run_id, "repo_id": facts.repo_id,
        "sandbox_id": facts.sandbox_id, "pipeline": facts.pipeline, "path": body.path, "type": body.type,
        "media_type": media.told(body.media_type) if body.media_type is not None else None, "size": body.size,
        "hash": bytes.fromhex(body.sha256.removeprefix("sha256:")), "store": unit.get(Stores).current(unit).url,
        "received": 0, "artifact_expires_at": body.expires_at, "created_by": unit.actor.id, "created_at": unit.now,
        "expires_at": unit.now + timedelta(hours=unit.settings.artifact_upload_hours),
    }  # fmt: skip
    row = unit.execute(sa.insert(uploads).values(**values).returning(uploads)).one()
    told = {"run_id": body.run_id, "path": body.path, "size": body.size}
    ledger.record(unit, "artifact.upload", row.id, told, rules=decision.rules)
    return _shown(unit, row)


def show(unit: Unit, body: WhichIn) -> Upload:
    """How far an upload got. Raises `not_found`."""
    return _shown(unit, _row(unit, body.id)[0])


def drop(unit: Unit, body: DeleteIn) -> UploadGone:
    """Forget an upload. Raises `not_found`."""
    row, rules = _row(unit, body.id, lock=True)
    unit.execute(sa.delete(uploads).where(uploads.c.id == row.id))
    ledger.record(unit, "artifact.upload_dropped", row.id, {"path": row.path}, rules=rules)
    store = unit.get(Stores).at(row.store)
    unit.after_commit(lambda: store.drop_upload(row.org_id, row.id))
    return UploadGone(id=row.id, message="What had been sent is forgotten.")


# ---------------------------------------------------------------- a part


@dataclass
class Receiving:
    """A part of an upload that is being received. Its methods block; `end` or `abandon` comes last."""

    context: Context
    call: Call
    row: sa.Row[Any]
    lease: str
    part: Part
    summing: Summing | None
    offset: int
    last: int  # where it ends at the latest

    def write(self, data: bytes) -> None:
        """The next bytes. Raises `payload_too_large` for more than were announced, or than a part may have."""
        if self.offset + len(data) > self.last:
            raise Problem(
                "payload_too_large", f"at most {self.last - self.row.received} bytes may follow here",
                hint="Send what was announced, in parts of max_part bytes.", limit=self.last - self.row.received,
            )  # fmt: skip
        self.part.write(data)
        self.offset += len(data)
        if self.summing is not None:
            self.summing.update(data)

    def abandon(self) -> None:
        """Forget what has come, and let the next one try."""
        self.part.drop()
        self._free()

    def end(self) -> Upload:
        """Acknowledge what has come: it is on disk from now on. Where it was the last, the artifact is made."""
        try:
            self.part.close()
        except BaseException:
            self._free()
            raise
        if self.summing is not None:
            self.context.get(Progress).give(self.row.id, self.summing)
        after = perform(self.context, self.call, self._note)
        if after.offset < after.size:
            return after
        return complete(self.context, self.call, self.row)

    def _free(self) -> None:
        free = sa.update(uploads).where(uploads.c.id == self.row.id, uploads.c.lease == self.lease)
        perform(self.context, self.call, lambda unit: unit.execute(free.values(lease=None, leased_at=None)))

    def _note(self, unit: Unit) -> Upload:
        c = uploads.c
        mine_ = sa.update(uploads).where(c.id == self.row.id, c.lease == self.lease)
        found = unit.execute(
            mine_.values(received=self.offset, lease=None, leased_at=None).returning(uploads)
        ).one_or_none()
        if found is None:
            raise _taken()
        return _shown(unit, found)


def receive(context: Context, call: Call, upload_id: str, offset: int) -> Receiving:
    """Begin to receive a part. Raises `not_found`, `conflict` with the right `offset`, `busy`."""
    lease = secrets.token_hex(8)

    def take(unit: Unit) -> sa.Row[Any]:
        row, _ = _row(unit, upload_id, lock=True)
        if row.leased_at is not None and row.leased_at > unit.now - LEASE:
            raise _taken()
        if row.received != offset:
            raise Problem(
                "conflict", f"{row.received} bytes of this upload are here", hint="Go on there.",
                offset=row.received,
            )  # fmt: skip
        unit.execute(sa.update(uploads).where(uploads.c.id == row.id).values(lease=lease, leased_at=unit.now))
        return row

    row = perform(context, call, take)
    part = _Nothing() if row.size and offset == row.size else _part(context, call, row, lease)
    last = min(row.size, offset + context.get(Settings).max_artifact_part)
    return Receiving(
        context, call, row, lease, part, context.get(Progress).take(row.id, offset), offset, last
    )


class _Nothing:
    """A part of an upload that has all its bytes."""

    def write(self, _data: bytes, /) -> None:
        """No byte may follow: `Receiving.write` has seen to that."""
        return

    def close(self) -> None:
        """There is nothing to do."""
        return

    def drop(self) -> None:
        """There is nothing to do."""
        return


def _part(context: Context, call: Call, row: sa.Row[Any], lease: str) -> Part:
    """Go on behind what has come; from the beginning where the store has lost that."""
    store = context.get(Stores).at(row.store)
    mine_ = sa.update(uploads).where(uploads.c.id == row.id, uploads.c.lease == lease)
    free = mine_.values(lease=None, leased_at=None)
    try:
        return store.part(row.org_id, row.id, row.received)
    except Missing:
        perform(context, call, lambda unit: unit.execute(free.values(received=0)))
        raise Problem(
            "conflict", "what had come of this upload is lost", hint="Send it from the beginning.", offset=0
        ) from None
    except BaseException:
        perform(context, call, lambda unit: unit.execute(free))
        raise


def complete(context: Context, call: Call, row: sa.Row[Any]) -> Upload:
    """Make the artifact of an upload that has all its bytes; safe to repeat after a crash anywhere.

    Raises `validation_failed` where they are not those that were announced; the upload is forgotten then.
    """
    store = context.get(Stores).at(row.store)
    summing = context.get(Progress).take(row.id, row.size)
    if summing is None:
        summing = Summing.over(_came(store, row))
    what = summing.done()
    if what.hash != row.hash:
        perform(context, call, lambda unit: _forget(unit, row, store))
        raise Problem(
            "validation_failed", "the bytes that came do not have the announced hash",
            hint="The upload was forgotten; begin again.", expected=row.hash.hex(), actual=what.hash.hex(),
        )  # fmt: skip
    prepared = _settled(perform(context, call, ways, read_only=True), store, row, what)

    def verb(unit: Unit) -> Upload:
        gone = sa.delete(uploads).where(uploads.c.id == row.id)
        if not unit.execute(gone).rowcount:
            raise Problem(
                "not_found", "there is no such upload", hint="It may be complete: list the artifacts."
            )
        facts = RunFacts(row.repo_id, row.sandbox_id, row.pipeline)
        artifact = keep(
            unit, prepared, path=row.path, run_id=row.run_id, type_=row.type, facts=facts,
            expires_at=row.artifact_expires_at,
        )  # fmt: skip
        return _shown(unit, row, artifact, offset=row.size)

    done = perform(context, call, verb)
    store.drop_upload(row.org_id, row.id)
    return done


def _settled(found: Ways, store: ArtifactStore, row: sa.Row[Any], what: Sum) -> Prepared:
    """The upload as content: as it came, unless secrets have to be taken out."""
    first = next(_came(store, row, _START), b"")
    kind = row.media_type or media.guessed(row.path, first)
    if found.cleaner is not None and media.is_text(first):
        return put(found, row.org_id, _came(store, row), path=row.path, media_type=kind)
    store.seal(row.org_id, row.id, what)
    return Prepared(what, store.url, kind, redacted=False)


def _came(store: ArtifactStore, row: sa.Row[Any], most: int | None = None) -> Iterator[bytes]:
    """What was sent; from where `seal` put it, if somebody died behind that."""
    size = row.size if most is None else min(row.size, most)
    try:
        return store.parts(row.org_id, row.id, size)
    except Missing:
        return store.read(row.org_id, row.hash, 0, size)


def _forget(unit: Unit, row: sa.Row[Any], store: ArtifactStore) -> None:
    unit.execute(sa.delete(uploads).where(uploads.c.id == row.id))
    ledger.record(unit, "artifact.upload_dropped", row.id, {"path": row.path})
    unit.after_commit(lambda: store.drop_upload(row.org_id, row.id))


def _row(unit: Unit, id_: str, *, lock: bool = False) -> tuple[sa.Row[Any], tuple[str, ...]]:
    """An upload of the actor's own. Raises `not_found`, for those of others, too."""
    wanted = sa.select(uploads).where(uploads.c.id == id_, uploads.c.created_by == unit.actor.id)
    row = unit.execute(wanted.with_for_update() if lock else wanted).one_or_none()
    facts = RunFacts(row.repo_id, row.sandbox_id, None) if row is not None else mine(unit)
    decision = policy.require(unit, "artifact.write", resource(unit, "new", facts))
    if row is None:
        raise Problem("not_found", "there is no such upload", hint="It may be complete, or its time is over.")
    return row, decision.rules


def _shown(
    unit: Unit, row: sa.Row[Any], artifact: Artifact | None = None, offset: int | None = None
) -> Upload:
    return Upload(
        id=row.id, path=row.path, size=row.size, offset=row.received if offset is None else offset,
        max_part=unit.settings.max_artifact_part, expires_at=row.expires_at, artifact=artifact,
    )  # fmt: skip


def _taken() -> Problem:
    return Problem("busy", "somebody else sends a part of this upload", hint="Ask for its offset in a while.")
