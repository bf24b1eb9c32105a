"""The end of an organisation: an owner closes it, for thirty days an owner can open it again, then it is erased.

While it is closing nobody's credentials work but those that owners sign in with, and these only to keep it or to take
its record along. Erasing removes its files, then, in one transaction, every row and its key: what the key sealed is
unreadable from then on, wherever a copy lies. What stays is the ledger, which names nobody, with what proves it. A
process that dies in between leaves the organisation due, and the next run, or the doctor, finishes it.
"""

import logging
import shutil
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.home import org_roots
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.core.unit import Unit, as_system
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy

from . import org_schema as schema
from . import sessions
from .ports import Elsewhere, Holds

GRACE: Final = timedelta(days=30)
log = logging.getLogger(__name__)


def close(unit: Unit, body: schema.CloseIn) -> schema.Org:
    """Close the caller's organisation; it is erased in thirty days.

    Raises `validation_failed` unless its slug is typed, `conflict` for the server owner's own organisation, for one
    that is held, and for one that is closing already.
    """
    org = own(unit, body.id)
    decision = policy.require(unit, "org.delete", policy.org_resource(unit))
    sessions.by_oneself(unit)
    if body.confirm != org.slug:
        raise Problem(
            "validation_failed", "confirm has to be the organisation's slug", hint=f"Type {org.slug}."
        )
    if org.slug == identity.DEFAULT_ORG_SLUG or identity.list_credentials(unit, "owner"):
        raise Problem(
            "conflict",
            "this organisation is the server owner's",
            hint="Remove the server's state folder instead.",
        )
    if org.closing_at is not None:
        raise Problem("conflict", "the organisation is closing already", hint="See when with getOrg.")
    _refuse_held(unit)
    erase_at = unit.now + GRACE
    values = {"closing_by": unit.actor.id, "closing_at": unit.now, "erase_at": erase_at}
    identity.change_org(unit, **values)
    ledger.record(unit, "org.closing", unit.org_id, {"erase_at": erase_at.isoformat()}, rules=decision.rules)
    return shown(own(unit, unit.org_id))


def keep(unit: Unit, body: schema.WhichOrg) -> schema.Org:
    """Open a closing organisation again, with everything that was in it. Raises `conflict` for any other."""
    org = own(unit, body.id)
    decision = policy.require(unit, "org.delete", policy.org_resource(unit))
    if org.closing_at is None:
        raise Problem("conflict", "the organisation is not closing", hint="There is nothing to take back.")
    values = {"closing_by": None, "closing_at": None, "erase_at": None}
    identity.change_org(unit, **values)
    ledger.record(unit, "org.kept", unit.org_id, {}, rules=decision.rules)
    return shown(own(unit, unit.org_id))


def erase_due(context: Context) -> int:
    """Erase every organisation whose time has come; returns how many. One that is held, or fails, keeps no other."""
    done = 0
    for org_id in due(context):
        try:
            erase(context, org_id)
            done += 1
        except Problem as problem:
            log.warning("%s is not erased: %s", org_id, problem.detail)
        except Exception:  # files that cannot be removed now are tried again; the others wait for none of it
            log.exception("%s could not be erased", org_id)
    return done


def due(context: Context) -> list[str]:
    """Ids of organisations that are to be erased now."""
    return context.get(Database).organisations("erase")


def erase(context: Context, org_id: str) -> None:
    """Erase one organisation whose time has come; safe to repeat after a crash anywhere. Raises `conflict` if held."""
    as_system(context, org_id, _refuse_held, read_only=True)
    _remove_files(context, org_id)
    as_system(context, org_id, _erase_rows)
    _remove_files(context, org_id)  # what a task that was still running has written since


def _erase_rows(unit: Unit) -> None:
    """All or nothing: rows, key, name; and the last line of the ledger."""
    _refuse_held(unit)
    rows = unit.ask("ops.erase_org")[0][0]
    ledger.record(unit, "org.erased", unit.org_id, {"rows": rows})


def _remove_files(context: Context, org_id: str) -> None:
    elsewhere = context.get(Elsewhere)
    for name in elsewhere:
        elsewhere.get(name)(context, org_id)
    for root in org_roots(context.get(Settings).home_dir, org_id):
        if root.exists():
            shutil.rmtree(root)


def _refuse_held(unit: Unit) -> None:
    holds = unit.get(Holds)
    for name in holds:
        reason = holds.get(name)(unit)
        if reason is not None:
            raise Problem(
                "conflict", f"{reason} keeps the organisation from being erased", hint="Release it first."
            )


def own(unit: Unit, id_: str) -> sa.Row[Any]:
    """The row of the unit's organisation, by its id or slug. Raises `not_found` for any other."""
    row = identity.own_org(unit)
    if id_ not in (row.id, row.slug):
        raise Problem("not_found", "there is no such organisation", hint="Name your own.")
    return row


def shown(row: sa.Row[Any]) -> schema.Org:
    """The organisation as its members see it."""
    return schema.Org(
        id=row.id, slug=row.slug, name=row.name, anonymous=row.anonymous, created_at=row.created_at,
        closing_at=row.closing_at, erase_at=row.erase_at,
    )  # fmt: skip
