"""Read the chain as the database holds it, and verify it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import aggregate_order_by

from builderos.core.chain import Line, Verdict, run, seed, verify
from builderos.core.unit import Unit

from .model import ledger, ledger_head

PIECE: Final = 512  # lines that are fetched and hashed at once: what fits into the cache
_HASH: Final = 32
_Piece: TypeAlias = tuple[int, list[bytes], bytes, bytes]


def stored_head(unit: Unit) -> tuple[int, bytes]:
    """Number and hash of the newest line (0 and the organisation's seed when there is none)."""
    row = unit.execute(sa.select(ledger_head.c.seq, ledger_head.c.hash)).one_or_none()
    return (row.seq, row.hash) if row else (0, seed(unit.org_id))


def scan(unit: Unit, *, after: int = 0, upto: int | None = None, batch: int = 5000) -> Iterator[Line]:
    """Every line after `after` in order, fetched in batches (constant memory)."""
    columns = (ledger.c.seq, ledger.c.body, ledger.c.prev_hash, ledger.c.hash)
    while True:
        wanted = sa.select(*columns).where(ledger.c.seq > after).order_by(ledger.c.seq).limit(batch)
        if upto is not None:
            wanted = wanted.where(ledger.c.seq <= upto)
        rows = unit.execute(wanted).all()
        for row in rows:
            yield Line(row.seq, row.body, row.prev_hash, row.hash)
        if len(rows) < batch:
            return
        after = rows[-1].seq


def lines_with(
    unit: Unit, wanted: Mapping[str, str], *, after: int, upto: int
) -> list[tuple[int, dict[str, Any]]]:
    """Lines behind `after`, up to `upto`, whose type is in `wanted` and whose body holds the text named there."""
    fits = [sa.and_(ledger.c.type == type_, ledger.c.body.contains(text)) for type_, text in wanted.items()]
    found = sa.select(ledger.c.seq, ledger.c.body).where(
        ledger.c.seq > after, ledger.c.seq <= upto, sa.or_(*fits)
    )
    return [(row.seq, json.loads(row.body)) for row in unit.execute(found.order_by(ledger.c.seq))]


def verify_stored(unit: Unit) -> Verdict:
    """Verify this organisation's chain as the database holds it."""
    seq, hash_ = stored_head(unit)
    verdict = verify_range(unit, (0, seed(unit.org_id)), seq)
    if verdict.ok and verdict.head != hash_.hex():
        reason = f"the chain ends at {verdict.lines}, its head says {seq}"
        return Verdict(False, verdict.lines, verdict.head, verdict.lines + 1, reason)
    return verdict


def verify_range(unit: Unit, after: tuple[int, bytes], upto: int) -> Verdict:
    """Verify the lines behind a good one (its number and hash), up to number `upto`.

    Bodies come in one piece for many lines, because a row of its own costs more than its hash does. Where a piece does
    not fit, its lines are looked at one by one.
    """
    seq, previous = after
    while seq < upto:
        end = min(seq + PIECE, upto)
        count, bodies, before, held = _piece(unit, seq, end)
        hashes = run(previous, seq + 1, bodies)
        found = b"".join(hashes)
        if not count == len(hashes) == end - seq or held != found or before != previous + found[:-_HASH]:
            verdict = verify(unit.org_id, scan(unit, after=seq, upto=upto), after=(seq, previous))
            if not verdict.ok or verdict.lines == upto:
                return verdict
            return Verdict(
                False, verdict.lines, verdict.head, verdict.lines + 1,
                f"the chain ends at {verdict.lines}, its head says {upto}",
            )  # fmt: skip
        seq, previous = end, hashes[-1]
    return Verdict(True, seq, previous.hex())


def _piece(unit: Unit, after: int, upto: int) -> _Piece:
    """How many lines with whole hashes there are, their bodies, all previous hashes and all hashes end to end.

    No body has a line break: JSON writes it in another way. The number of lines tells when one has.
    """
    whole, bodies, before, held = unit.ask("ops.ledger_piece", after, upto)[0]
    return whole, (bodies or "").encode().split(b"\n"), before or b"", held or b""


def misplaced(unit: Unit) -> list[str]:
    """Lines that a search finds by other words than those they hold, in words, at most 100 of a kind."""
    return [f"line {seq} {what}" for seq, what in unit.ask("ops.ledger_misplaced", 100)]


def export_rows(unit: Unit, after: int, upto: int) -> str:
    """The lines behind `after` up to `upto` as rows of an export, each with its line break.

    The database writes them: fetched one by one they would take five times as long.
    """
    c, text = ledger.c, sa.literal
    row = sa.func.concat(
        text('{"seq": '), c.seq, text(f', "org_id": {json.dumps(unit.org_id)}, "body": '),
        sa.cast(sa.func.to_json(c.body), sa.Text), text(', "prev_hash": "'), sa.func.encode(c.prev_hash, "hex"),
        text('", "hash": "'), sa.func.encode(c.hash, "hex"), text('"}\n'),
    )  # fmt: skip
    wanted = sa.select(sa.func.string_agg(row, aggregate_order_by(sa.literal(""), c.seq)))
    return unit.execute(wanted.where(c.seq > after, c.seq <= upto)).scalar_one() or ""


def line_of(unit: Unit, seq: int) -> Line | None:
    """One line of the chain."""
    wanted = sa.select(ledger.c.seq, ledger.c.body, ledger.c.prev_hash, ledger.c.hash).where(
        ledger.c.seq == seq
    )
    row = unit.execute(wanted).one_or_none()
    return Line(row.seq, row.body, row.prev_hash, row.hash) if row else None
