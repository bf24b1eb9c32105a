"""What time does to sandboxes: active → idle → expired → archived. Nothing that was written is lost on the way.

A commit slides a sandbox's expiry like a resume does. That is written down here, once a day, and not with each commit:
the expiry lies months ahead.
"""

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from builderos.assets.repositories import service as repositories
from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.unit import Unit, as_system
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy

from . import allowance
from .manage import put_away, resource_of
from .model import sandboxes
from .sandboxes import sandbox_row

log = logging.getLogger("builderos.workspaces")
_PAGE = 200


@dataclass
class Aged:
    """How many sandboxes went which way."""

    slid: int = 0
    idled: int = 0
    expired: int = 0
    archived: int = 0
    failed: int = 0


def age_sandboxes(context: Context, org_id: str) -> Aged:
    """Bring every sandbox of an organisation to the state that its age asks for. Safe to repeat.

    Each expiry and each archive is a transaction of its own; one that fails is tried again the next day.
    """
    aged = Aged()
    aged.slid = as_system(context, org_id, slide)
    aged.idled = as_system(context, org_id, idle)
    last = ""
    while ids := as_system(context, org_id, lambda unit, after=last: overdue(unit, after), read_only=True):
        for sandbox_id in ids:
            _age(context, org_id, sandbox_id, aged)
        last = ids[-1]
    return aged


def _age(context: Context, org_id: str, sandbox_id: str, aged: Aged) -> None:
    try:
        state = as_system(context, org_id, lambda unit: age(unit, sandbox_id))
    except Problem as problem:
        aged.failed += 1
        log.warning("the sandbox %s could not be aged: %s", sandbox_id, problem)
        return
    aged.expired += state == "expired"
    aged.archived += state == "archived"


def slide(unit: Unit) -> int:
    """Move the expiry of sandboxes whose branch was written since they were last opened; returns how many."""
    c = sandboxes.c
    ttl = allowance.lifetime(unit)
    written = repositories.written_since(c.branch_id, c.last_active_at)
    rows = unit.execute(
        sa.update(sandboxes)
        .where(c.state.in_(("active", "idle")), written.is_not(None))
        .values(
            last_active_at=written,
            state="active",
            expires_at=sa.case(
                (c.expires_at.is_(None), None), else_=sa.func.greatest(c.expires_at, written + ttl)
            ),
        )
        .returning(c.id, c.expires_at)
    ).all()
    for row in rows:
        identity.extend(unit, row.id, row.expires_at)
    return len(rows)


def idle(unit: Unit) -> int:
    """Call sandboxes idle that nobody touched for a while; returns how many. They work as before."""
    c = sandboxes.c
    since = unit.now - timedelta(days=unit.settings.idle_days)
    return unit.execute(
        sa.update(sandboxes).where(c.state == "active", c.last_active_at < since).values(state="idle")
    ).rowcount


def overdue(unit: Unit, after: str) -> list[str]:
    """The next ids of sandboxes whose expiry, or the end of whose grace, is past."""
    c = sandboxes.c
    grace = unit.now - timedelta(days=unit.settings.grace_days)
    wanted = sa.or_(
        sa.and_(c.state.in_(("active", "idle")), c.expires_at <= unit.now),
        sa.and_(c.state == "expired", c.expires_at <= grace),
    )
    return list(
        unit.execute(sa.select(c.id).where(wanted, c.id > after).order_by(c.id).limit(_PAGE)).scalars()
    )


def age(unit: Unit, sandbox_id: str) -> str:
    """Expire or archive one sandbox, where it still is overdue; returns its state after that."""
    row = unit.execute(sa.select(sandboxes).where(sandboxes.c.id == sandbox_id).with_for_update()).one()
    if row.expires_at is None or row.expires_at > unit.now:
        return row.state
    if row.state in ("active", "idle"):
        return _expire(unit, row)
    if row.state == "expired" and row.expires_at <= unit.now - timedelta(days=unit.settings.grace_days):
        return _archive(unit, row)
    return row.state


def _expire(unit: Unit, row: sa.Row[Any]) -> str:
    """Its token has ended by its own date. An owner can renew it for the days of grace, and after them."""
    decision = policy.require(unit, "sandbox.archive", resource_of(unit, row))
    unit.execute(sa.update(sandboxes).where(sandboxes.c.id == row.id).values(state="expired"))
    until = row.expires_at + timedelta(days=unit.settings.grace_days)
    payload = {"branch": row.name, "archived_after": until.isoformat()}
    ledger.record(unit, "sandbox.expired", row.id, payload, rules=decision.rules)
    return "expired"


def _archive(unit: Unit, row: sa.Row[Any]) -> str:
    decision = policy.require(unit, "sandbox.archive", resource_of(unit, row))
    put_away(unit, sandbox_row(unit, row.id))
    ledger.record(unit, "sandbox.archived", row.id, {"branch": row.name}, rules=decision.rules)
    return "archived"
