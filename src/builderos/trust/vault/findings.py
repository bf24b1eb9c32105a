"""Credentials that push protection kept out: who answers for the organisation sees where, and may let one in."""

from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy

from .model import secret_findings as table
from .schema import FindingDecisionIn, FindingListIn, SecretFinding, SecretFindings

KEPT: Final = timedelta(days=90)


def list_findings(unit: Unit, body: FindingListIn) -> SecretFindings:
    """Where credentials were found, the last first."""
    policy.require(unit, "secret.read", policy.org_resource(unit))
    key = list_key("secret-findings", open=body.open)
    after = decode_cursor(key, body.cursor, 2)
    at, fingerprint = table.c.last_at, table.c.fingerprint
    wanted = sa.select(table).order_by(at.desc(), fingerprint.desc()).limit(body.limit + 1)
    if body.open:
        wanted = wanted.where(sa.or_(table.c.allowed_until.is_(None), table.c.allowed_until <= unit.now))
    if after is not None:
        moment = sa.cast(sa.literal(after[0], sa.Text), sa.DateTime(timezone=True))
        wanted = wanted.where(sa.tuple_(at, fingerprint) < sa.tuple_(moment, sa.literal(after[1], sa.Text)))
    rows = unit.execute(wanted).all()
    last = rows[body.limit - 1] if len(rows) > body.limit else None
    return SecretFindings(
        items=[_finding(unit, row) for row in rows[: body.limit]],
        next_cursor=encode_cursor(key, [last.last_at.isoformat(), last.fingerprint])
        if last is not None
        else None,
    )


def _finding(unit: Unit, row: sa.Row[tuple[object, ...]]) -> SecretFinding:
    values = {c.name: getattr(row, c.name) for c in table.c if c.name not in ("org_id", "allowed_at")}
    until = values["allowed_until"]
    return SecretFinding(**values, allowed=until is not None and until > unit.now)


def decide_finding(unit: Unit, body: FindingDecisionIn) -> SecretFinding:
    """Let exactly this credential into exactly this file for a while, or take that back.

    Raises `not_found` for what was never found here.
    """
    decision = policy.require(unit, "secret.manage", policy.org_resource(unit))
    known = sa.select(table).where(table.c.fingerprint == body.fingerprint).with_for_update()
    row = unit.execute(known).one_or_none()
    if row is None:
        raise Problem("not_found", "nothing was found with this fingerprint", hint="List the findings first.")
    allow = body.decision == "allow"
    until = unit.now + timedelta(hours=body.hours) if allow else None
    values = {"allowed_by": unit.actor.id if allow else None, "allowed_at": unit.now if allow else None,
              "allowed_until": until, "reason": body.reason}  # fmt: skip
    changed = sa.update(table).where(table.c.fingerprint == body.fingerprint).values(values).returning(table)
    found = unit.execute(changed).one()
    payload = {"repo_id": row.repo_id, "branch": row.branch, "paths": [row.path], "line": row.line, "rule": row.rule,
               "reason": body.reason, "hours": body.hours if allow else None}  # fmt: skip
    type_ = "secret.finding_allowed" if allow else "secret.finding_forbidden"
    ledger.record(unit, type_, body.fingerprint, payload, rules=decision.rules)
    return _finding(unit, found)


def sweep(unit: Unit) -> int:
    """Forget what was found long ago; the ledger knows what was decided about it."""
    old = sa.delete(table).where(table.c.last_at < unit.now - KEPT)
    lapsed = sa.or_(table.c.allowed_until.is_(None), table.c.allowed_until < unit.now)
    return unit.execute(old.where(lapsed)).rowcount
