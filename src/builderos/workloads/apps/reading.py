"""Apps as people and programs look at them."""

from typing import Any, Final

import sqlalchemy as sa

from builderos.core.files import piece_of
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.tables import as_dict
from builderos.core.unit import Unit
from builderos.trust.audit import service as audit
from builderos.trust.policy import service as policy

from . import rows
from .keeping import Keeper
from .model import apps, releases
from .ports import Addresses
from .schema import (
    App,
    AppIn,
    AppList,
    AppListIn,
    AppLogs,
    AppLogsIn,
    AppRelease,
    ReleaseList,
    ReleaseListIn,
)

_SHOWN: Final = frozenset(AppRelease.model_fields)


def _may(unit: Unit) -> None:
    policy.require(unit, "app.read", policy.org_resource(unit))


def release_shown(row: rows.Row) -> AppRelease:
    """A release as the contract names it."""
    values: dict[str, Any] = as_dict(row)
    return AppRelease(**{name: values[name] for name in _SHOWN})


def url_of(unit: Unit, row: rows.Row) -> str | None:
    """Where an app is; None where it can have no address of its own."""
    origin = unit.get(Addresses).of(row.id)
    return f"{origin}{row.spec['base_path']}/" if origin else None


def shown(unit: Unit, row: rows.Row) -> App:
    """An app as the contract names it."""
    current = rows.release(unit, row.current_id) if row.current_id is not None else None
    latest = rows.newest(unit, row.id)
    spec = {
        name: value
        for name, value in row.spec.items()
        if name not in ("said", "said_build", "type", "reaches")
    }
    return App(
        id=row.id, name=row.name, type=row.type, policy=row.policy, idle_timeout=row.idle_timeout, state=row.state,
        standing=_standing(unit, row), url=url_of(unit, row) if row.state == "active" else None,
        current=release_shown(current) if current is not None else None,
        latest=release_shown(latest) if latest is not None else None, created_by=row.created_by,
        created_at=row.created_at, updated_at=row.updated_at, **spec,
    )  # fmt: skip


def _standing(unit: Unit, row: rows.Row) -> Any:
    if row.state != "active":
        return "stopped"
    if row.current_id is None:
        return "new"
    if row.asleep:
        return "asleep"
    given_up = rows.release(unit, row.current_id).status == "failed"
    return "failing" if given_up or unit.get(Keeper).fails(row.id) else "awake"


def show(unit: Unit, body: AppIn) -> App:
    """One app. Raises `not_found`."""
    _may(unit)
    row = rows.find(unit, body.id)
    audit.access.note(unit, "app.show", row.id)
    return shown(unit, row)


def listed(unit: Unit, body: AppListIn) -> AppList:
    """A page of apps, newest first."""
    _may(unit)
    c = apps.c
    key = list_key("apps", type=body.type, stopped=body.stopped)
    wanted = sa.select(apps).where(c.state != "deleted").order_by(c.id.desc()).limit(body.limit + 1)
    wanted = wanted if body.stopped else wanted.where(c.state == "active")
    wanted = wanted if body.type is None else wanted.where(c.type == body.type)
    last = decode_cursor(key, body.cursor)
    if last is not None:
        wanted = wanted.where(c.id < str(last[0]))
    found = unit.execute(wanted).all()
    items = [shown(unit, row) for row in found[: body.limit]]
    more = len(found) > body.limit
    return AppList(items=items, next_cursor=encode_cursor(key, [items[-1].id]) if more else None)


def releases_listed(unit: Unit, body: ReleaseListIn) -> ReleaseList:
    """A page of an app's releases, newest first. Raises `not_found`."""
    _may(unit)
    app, c = rows.find(unit, body.id), releases.c
    key = list_key("releases", id=app.id)
    wanted = sa.select(releases).where(c.app_id == app.id).order_by(c.number.desc()).limit(body.limit + 1)
    last = decode_cursor(key, body.cursor)
    if last is not None:
        wanted = wanted.where(c.number < int(last[0]))
    found = unit.execute(wanted).all()
    items = [release_shown(row) for row in found[: body.limit]]
    more = len(found) > body.limit
    return ReleaseList(items=items, next_cursor=encode_cursor(key, [items[-1].number]) if more else None)


def logs(unit: Unit, body: AppLogsIn) -> AppLogs:
    """A piece of what a release printed. Empty where another machine has it. Raises `not_found`."""
    _may(unit)
    app = rows.find(unit, body.id)
    row = rows.newest(unit, app.id) if body.release is None else rows.release(unit, body.release)
    if row is None or row.app_id != app.id:
        raise Problem("not_found", "there is no such release of this app", hint="List its releases.")
    audit.access.note(unit, "app.logs", row.id)
    start = min(body.start or row.starts, row.starts) if body.of == "process" else 0
    path = rows.log_of(unit, row, body.of, start)
    text, following, size = piece_of(path, body.offset, body.limit)
    return AppLogs(
        id=app.id, release=row.id, start=start, text=text, offset=body.offset,
        next_offset=following, size=size,
    )  # fmt: skip
