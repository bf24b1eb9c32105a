"""Taking away what nobody needs any more, in two steps.

Content to which nothing refers is marked, and removed a day later if it is still so. Whoever keeps the same content
meanwhile takes the mark away, under the lock that removing needs.
"""

import logging
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from builderos.core.clock import utcnow
from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.unit import Unit, as_system
from builderos.trust.audit import service as audit
from builderos.trust.ledger import service as ledger

from .folder import FOLDER
from .keeping import add_space, lock_space
from .model import artifacts, contents, uploads
from .places import Stores
from .rules import limits

GRACE: Final = timedelta(days=1)  # between the mark and the end
STRAY: Final = timedelta(days=1)  # after which what nobody spoke of is nobody's any more
PER_UNIT: Final = 200
log = logging.getLogger(__name__)


def tidy(context: Context, org_id: str) -> int:
    """All of it for one organisation; how many things went. For the schedule."""
    count = 0
    for step in (_expire, _end_uploads, _doom, _remove):
        while done := as_system(context, org_id, step):
            count += done
    _find_strays(context, org_id)
    return count


def _expire(unit: Unit) -> int:
    """End artifacts whose term is over and that no legal hold keeps."""
    c, held = artifacts.c, limits(unit)
    days = [d for d in (held.keep_days, *held.pipelines.values()) if d is not None]
    oldest = unit.now - timedelta(days=min(days)) if days else None
    due = c.expires_at <= unit.now
    wanted = sa.select(c.id, c.run_id, c.pipeline, c.created_at, c.created_by, c.expires_at).where(
        c.gone_at.is_(None), due if oldest is None else sa.or_(due, c.created_at <= oldest)
    )
    rows = [
        row
        for row in unit.execute(wanted.order_by(c.id))
        if (at := held.expiry(row.pipeline, row.created_at, row.expires_at)) is not None and at <= unit.now
    ]
    holders = {who: audit.keeping.held_by(unit, who) for who in {row.created_by for row in rows}}
    ended = [row.id for row in rows if holders[row.created_by] is None][:PER_UNIT]
    if ended:
        gone = sa.update(artifacts).where(c.id.in_(ended))
        unit.execute(gone.values(gone_at=unit.now, gone_why="expired"))
        ledger.record(unit, "artifact.expired", unit.org_id, {"artifacts": ended})
    return len(ended)


def _end_uploads(unit: Unit) -> int:
    """Forget uploads that were not completed in time."""
    late = sa.select(uploads.c.id).where(uploads.c.expires_at <= unit.now).limit(PER_UNIT)
    ended = unit.execute(
        sa.delete(uploads).where(uploads.c.id.in_(late)).returning(uploads.c.id, uploads.c.store)
    ).all()
    stores = unit.get(Stores)
    for row in ended:
        unit.after_commit(lambda row=row: stores.at(row.store).drop_upload(unit.org_id, row.id))
    return len(ended)


def _unused() -> sa.ColumnElement[bool]:
    live = sa.select(sa.literal(1)).where(artifacts.c.hash == contents.c.hash, artifacts.c.gone_at.is_(None))
    return ~sa.exists(live)


def _doom(unit: Unit) -> int:
    """Mark content to which nothing refers."""
    lock_space(unit)
    found = sa.select(contents.c.hash).where(contents.c.doomed_at.is_(None), _unused()).limit(PER_UNIT)
    marked = sa.update(contents).where(contents.c.hash.in_(found)).values(doomed_at=unit.now)
    return unit.execute(marked).rowcount


def _remove(unit: Unit) -> int:
    """Remove what has been marked for long enough: first the bytes, under the lock, then the row."""
    lock_space(unit)
    c = contents.c
    due = sa.select(contents).where(c.doomed_at <= unit.now - GRACE, _unused()).limit(PER_UNIT)
    rows = unit.execute(due).all()
    for row in rows:
        unit.get(Stores).at(row.store).delete(unit.org_id, row.hash)
    if rows:
        unit.execute(sa.delete(contents).where(c.hash.in_([row.hash for row in rows])))
        add_space(unit, -sum(row.size for row in rows))
    return len(rows)


def _find_strays(context: Context, org_id: str) -> None:
    """Mark what lies in a store without a row: of somebody who died between putting it there and saying so."""
    before = utcnow() - STRAY
    for url in as_system(context, org_id, _stores, read_only=True):
        try:
            store = context.get(Stores).at(url)
            store.sweep(org_id, before)
            old = [(found.hash, found.size) for found in store.listed(org_id) if found.modified < before]
        except Problem as problem:
            log.warning("the store %s was not tidied: %s", url, problem.detail)
            continue
        for first in range(0, len(old), PER_UNIT):
            some = old[first : first + PER_UNIT]
            as_system(context, org_id, lambda unit, some=some, url=url: _adopt(unit, url, some))


def _stores(unit: Unit) -> list[str]:
    known = unit.execute(sa.select(contents.c.store).distinct()).scalars().all()
    return sorted({*known, FOLDER, unit.get(Stores).current(unit).url})


def _adopt(unit: Unit, url: str, found: list[tuple[bytes, int]]) -> None:
    """Give strays rows that are marked already; remove copies of what lies in another store."""
    lock_space(unit)
    c = contents.c
    wanted = sa.select(c.hash, c.store).where(c.hash.in_([hash_ for hash_, _ in found]))
    known = {row.hash: row.store for row in unit.execute(wanted)}
    for hash_ in (hash_ for hash_, store in known.items() if store != url):
        unit.get(Stores).at(url).delete(unit.org_id, hash_)
    values: list[dict[str, Any]] = [
        {"org_id": unit.org_id, "hash": hash_, "size": size, "blocks": b"", "store": url, "stored_at": unit.now,
         "doomed_at": unit.now} for hash_, size in found if hash_ not in known
    ]  # fmt: skip
    if values:
        unit.execute(sa.insert(contents).values(values))
        add_space(unit, sum(row["size"] for row in values))


def erase(context: Context, org_id: str) -> None:
    """Remove all content of an organisation from every store that it has any in; safe to repeat."""
    for url in as_system(context, org_id, _stores, read_only=True):
        context.get(Stores).at(url).erase(org_id)
