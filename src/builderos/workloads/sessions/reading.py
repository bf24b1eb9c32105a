"""Sessions as people and programs look at them."""

from dataclasses import asdict
from typing import Any, Final

import sqlalchemy as sa

from builderos.assets.workspaces import service as workspaces
from builderos.core.files import piece_of
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.tables import as_dict
from builderos.core.unit import Unit
from builderos.execution.compute.schema import Meter
from builderos.execution.serving.service import badges

from . import rows
from .keeping import Keeper
from .model import sessions
from .schema import Resources, Session, SessionIn, SessionList, SessionListIn, SessionLogs, SessionLogsIn

_SHOWN: Final = frozenset(Session.model_fields) - {"resources", "endpoints", "models"}


def shown(row: rows.Row) -> Session:
    """A row as the contract names it."""
    values: dict[str, Any] = as_dict(row)
    return Session(**badges.Calls.of(row.calls).as_json(), **{name: values[name] for name in _SHOWN})


def seen(unit: Unit, id_: str) -> rows.Row:
    """The row of a session that the caller may see. Raises `not_found`."""
    row = rows.find(unit, id_)
    rows.require(unit, "session.read", row)
    return row


def show(unit: Unit, body: SessionIn) -> Session:
    """One session. Raises `not_found`."""
    session, meter = shown(seen(unit, body.id)), unit.get(Keeper).meter(body.id)
    if meter is None or session.ended_at is not None:
        return session
    return session.model_copy(update={"resources": resources_of(meter)})


def resources_of(meter: Meter) -> Resources:
    """What a session uses, as the contract names it."""
    return Resources(
        **{name: value for name, value in asdict(meter).items() if name in Resources.model_fields}
    )


def listed(unit: Unit, body: SessionListIn) -> SessionList:
    """A page of sessions, newest first: a workspace sees its own."""
    filters = body.model_dump(exclude={"limit", "cursor"})
    key = list_key("sessions", **filters)
    c, where = sessions.c, workspaces.within(unit, sessions, "session.read", body.repo_name, body.branch)
    for name in ("status", "kind"):
        if filters[name] is not None:
            where.append(c[name] == filters[name])
    wanted = sa.select(sessions).where(*where)
    last = decode_cursor(key, body.cursor)
    if last is not None:
        wanted = wanted.where(c.id < str(last[0]))
    found = unit.execute(wanted.order_by(c.id.desc()).limit(body.limit + 1)).all()
    items = [shown(row) for row in found[: body.limit]]
    more = len(found) > body.limit
    return SessionList(items=items, next_cursor=encode_cursor(key, [items[-1].id]) if more else None)


def piece(unit: Unit, body: SessionLogsIn) -> SessionLogs:
    """A piece of what the server of a session printed. Empty where another machine has it."""
    row = seen(unit, body.id)
    path = rows.state_of(unit, row) / row.logs_ref
    text, following, size = piece_of(path, body.offset, body.limit)
    return SessionLogs(id=row.id, text=text, offset=body.offset, next_offset=following, size=size)
