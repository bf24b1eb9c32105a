"""All content from one store to another, while the server goes on.

Each piece is copied, read back and verified; then its row is turned over, then the old copy goes. Whoever is stopped
anywhere calls again.
"""

import logging
import time
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.problems import Problem
from builderos.core.unit import Unit, as_system
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy

from .hashing import Altered, Missing, Sum, Summing
from .keeping import lock_space
from .model import contents
from .places import Stores
from .ports import ArtifactStore
from .schema import Moved, MoveIn

PATIENCE_S: Final = 20.0  # of one call
PER_LOOK: Final = 100
MOST_FAULTS: Final = 20
log = logging.getLogger(__name__)


class _Piece(NamedTuple):
    what: Sum
    store: str


class _Count:
    """What one call has done."""

    def __init__(self) -> None:
        self.moved = self.bytes = 0
        self.faults: list[str] = []


def move(unit: Unit, body: MoveIn) -> Moved:
    """Put new content there from now on, and bring there what lies elsewhere, for some seconds.

    Raises `validation_failed` for a URL that nobody reads, `unavailable` for a store that cannot be written.
    """
    decision = policy.require(unit, "server.move", policy.org_resource(unit))
    target = unit.get(Stores).at(body.to)
    target.probe()
    context, database = unit.context, unit.get(Database)
    if unit.get(Stores).current(unit).url != target.url:
        ledger.record(unit, "server.artifacts_moved", unit.org_id, {"to": target.url}, rules=decision.rules)
    with database.as_server() as connection:
        connection.execute("select ops.set_artifact_place(%s)", (target.url,))
    count, until, left = _Count(), time.monotonic() + PATIENCE_S, 0
    for org_id in database.organisations("all"):
        _move_all(context, org_id, target.url, count, until)
        left += as_system(context, org_id, lambda own: _left(own, target.url), read_only=True)
    message = "All content lies there." if not left else "Call again to go on."
    if count.faults and left:
        message = "What could not be moved stays where it is; see faults."
    return Moved(
        to=target.url, moved=count.moved, moved_bytes=count.bytes, left=left, faults=count.faults[:MOST_FAULTS],
        message=message,
    )  # fmt: skip


def _move_all(context: Context, org_id: str, url: str, count: _Count, until: float) -> None:
    after = b""
    while time.monotonic() < until:
        found = as_system(context, org_id, lambda unit, after=after: _next(unit, url, after), read_only=True)
        if not found:
            return
        for piece in found:
            if time.monotonic() >= until:
                return
            _move_one(context, org_id, piece, url, count)
            after = piece.what.hash


def _move_one(context: Context, org_id: str, piece: _Piece, url: str, count: _Count) -> None:
    what, stores = piece.what, context.get(Stores)
    old, new = stores.at(piece.store), stores.at(url)
    draft = new.draft(org_id)
    try:
        summing = Summing()
        for chunk in old.read(org_id, what.hash, 0, what.size):
            summing.update(chunk)
            draft.write(chunk)
        if summing.done().hash != what.hash:
            raise Altered("it is not what was kept")
        draft.keep(what)
        if Summing.over(new.read(org_id, what.hash, 0, what.size)).done().hash != what.hash:
            raise Altered("the copy is not what was sent")
    except (Altered, Missing, Problem) as why:
        log.error("%s of %s is not moved: %s", what.hash.hex(), org_id, why)
        count.faults.append(f"{org_id} {what.hash.hex()}: {why}")
        return
    finally:
        draft.drop()
    if as_system(context, org_id, lambda unit: _turn(unit, piece, url)):
        as_system(context, org_id, lambda unit: _leave(unit, piece))
        count.moved += 1
        count.bytes += what.size


def copy_all(context: Context, org_id: str, url: str) -> int:
    """Copy what lies elsewhere into a store, and let the rows say so; nothing is removed. Returns how many there were.

    For an installation that moves with its database: the rows are those of the new one. Raises `hash_mismatch`.
    """
    stores, after, count = context.get(Stores), b"", 0
    while found := as_system(context, org_id, lambda unit, a=after: _next(unit, url, a), read_only=True):
        for piece in found:
            _copy_one(stores.at(piece.store), stores.at(url), org_id, piece.what)
            as_system(context, org_id, lambda unit, p=piece: _turn(unit, p, url))
            count, after = count + 1, piece.what.hash
    return count


def _copy_one(old: ArtifactStore, new: ArtifactStore, org_id: str, what: Sum) -> None:
    if new.size_of(org_id, what.hash) == what.size:
        return
    draft, summing = new.draft(org_id), Summing()
    try:
        for chunk in old.read(org_id, what.hash, 0, what.size):
            summing.update(chunk)
            draft.write(chunk)
        if summing.done().hash != what.hash:
            raise Altered("it is not what was kept")
        draft.keep(what)
    except (Altered, Missing) as why:
        raise _broken(what) from why
    finally:
        draft.drop()


def verify_all(context: Context, org_id: str) -> int:
    """Read all content and hash it; returns how many pieces there are. Raises `hash_mismatch`."""
    stores, after, count = context.get(Stores), b"", 0
    while found := as_system(context, org_id, lambda unit, a=after: _next(unit, "", a), read_only=True):
        for piece in found:
            _verify(stores.at(piece.store), org_id, piece.what)
            count, after = count + 1, piece.what.hash
    return count


def _verify(store: ArtifactStore, org_id: str, what: Sum) -> None:
    try:
        if Summing.over(store.read(org_id, what.hash, 0, what.size)).done().hash != what.hash:
            raise Altered("it is not what was kept")
    except (Altered, Missing) as why:
        raise _broken(what) from why


def _broken(what: Sum) -> Problem:
    return Problem(
        "hash_mismatch",
        f"the artifact {what.hash.hex()} is lost or was altered",
        hint="Run `builderos doctor`.",
    )


def _turn(unit: Unit, piece: _Piece, url: str) -> bool:
    """The row says the new place from now on; not if somebody was faster."""
    lock_space(unit)
    mine = sa.update(contents).where(contents.c.hash == piece.what.hash, contents.c.store == piece.store)
    return unit.execute(mine.values(store=url)).rowcount == 1


def _leave(unit: Unit, piece: _Piece) -> None:
    """Remove the old copy, unless a row says that place again."""
    lock_space(unit)
    wanted = sa.select(contents.c.store).where(contents.c.hash == piece.what.hash)
    if unit.execute(wanted).scalar_one_or_none() != piece.store:
        unit.get(Stores).at(piece.store).delete(unit.org_id, piece.what.hash)


def _next(unit: Unit, url: str, after: bytes) -> list[_Piece]:
    c = contents.c
    wanted = sa.select(contents).where(c.store != url, c.hash > after).order_by(c.hash).limit(PER_LOOK)
    rows: list[sa.Row[Any]] = list(unit.execute(wanted))
    return [_Piece(Sum(row.hash, row.size, bytes(row.blocks)), row.store) for row in rows]


def _left(unit: Unit, url: str) -> int:
    counted = sa.select(sa.func.count()).select_from(contents).where(contents.c.store != url)
    return unit.execute(counted).scalar_one()
