"""Read the chain as the database holds it, and verify it."""

from collections.abc import Iterator

import sqlalchemy as sa

from builderos.core.chain import Line, Verdict, seed, verify
from builderos.core.unit import Unit

from .model import ledger, ledger_head


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


def verify_stored(unit: Unit) -> Verdict:
    """Verify this organisation's chain as the database holds it."""
    head = stored_head(unit)
    return verify(unit.org_id, scan(unit, upto=head[0]), head)


def line_of(unit: Unit, seq: int) -> Line | None:
    """One line of the chain."""
    wanted = sa.select(ledger.c.seq, ledger.c.body, ledger.c.prev_hash, ledger.c.hash).where(
        ledger.c.seq == seq
    )
    row = unit.execute(wanted).one_or_none()
    return Line(row.seq, row.body, row.prev_hash, row.hash) if row else None
