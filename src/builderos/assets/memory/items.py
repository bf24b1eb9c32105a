"""The verbs of `/v1/memory`: items and facts of a place, for those who may read or change them."""

from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.unit import Unit

from . import keeping
from .files import FORMAT, as_item
from .items_schema import (
    Export,
    ExportIn,
    History,
    Imported,
    ImportIn,
    ItemGone,
    ItemIn,
    ItemPage,
    ItemsIn,
    PinIn,
    PutItemIn,
    Remembered,
    RemoveItemIn,
    TtlIn,
    UndoIn,
    Version,
)
from .keeping import Note
from .model import memory_items as items
from .places import Scope, living, reading, row_of, seen, writing
from .recalling import recall, shown
from .taking_in import take_in

_MOST_EXPORTED = 10_000


def listed(unit: Unit, body: ItemsIn) -> ItemPage:
    """Items that are seen from a place, newest first; with `q` the best first. Raises as `locate`."""
    _, scope, _ = reading(unit, body, body.agent, body.run_id)
    if body.q is not None:
        found = recall(unit, scope, body.q, body.k, tier=body.tier, tag=body.tag)
        return ItemPage(items=list(found.items), next_cursor=None, warnings=list(found.warnings))
    rows, cursor = page(unit, scope, body)
    return ItemPage(items=[shown(unit, row) for row in rows], next_cursor=cursor)


def page(unit: Unit, scope: Scope, body: ItemsIn) -> tuple[list[Any], str | None]:
    """One page of what is seen from a scope, newest first, and the cursor that goes on."""
    c = items.c
    key = list_key("memory-items", scope=scope, tier=body.tier, tag=body.tag)
    wanted = sa.select(items).where(*seen(scope), *living(unit)).order_by(c.id.desc()).limit(body.limit + 1)
    if body.tier is not None:
        wanted = wanted.where(c.tier == body.tier)
    if body.tag is not None:
        wanted = wanted.where(c.tags.contains([body.tag]))
    last = decode_cursor(key, body.cursor)
    if last is not None:
        wanted = wanted.where(c.id < str(last[0]))
    rows = [row._mapping for row in unit.execute(wanted)]  # pyright: ignore[reportPrivateUsage]
    more = len(rows) > body.limit
    rows = rows[: body.limit]
    return rows, encode_cursor(key, [rows[-1]["id"]]) if more else None


def facts(unit: Unit, body: ItemsIn) -> ItemPage:
    """The facts that are seen from a place. Raises as `locate`."""
    return listed(unit, body.model_copy(update={"tier": "semantic"}))


def show(unit: Unit, body: ItemIn) -> Remembered:
    """One item. Raises `not_found`."""
    row, _ = row_of(unit, body.id, write=False)
    return shown(unit, row._mapping)  # pyright: ignore[reportPrivateUsage]


def put(unit: Unit, body: PutItemIn) -> Remembered:
    """Keep something in mind, or change it. A fact that is there gets a new version.

    Raises `conflict` (another version), `not_found`, `quota_exceeded`, `validation_failed`, and as `locate`.
    """
    note = Note(
        body=body.body, tier=body.tier, fact=body.fact, tags=None if body.tags is None else tuple(body.tags),
        source=body.source.model_dump(exclude_none=True) if body.source is not None else None, pinned=body.pinned,
        ttl=None if body.ttl_s is None else timedelta(seconds=body.ttl_s),
    )  # fmt: skip
    if body.id is not None:
        return _changed(unit, body, note)
    branch, rules = writing(unit, body, shared=body.shared)
    run_id = body.run_id if body.tier == "short_term" else None
    scope = Scope(branch.repo_id, None if body.shared else branch.id, body.agent, run_id)
    return shown(unit, keeping.remember(unit, scope, note, rules=rules))


def _changed(unit: Unit, body: PutItemIn, note: Note) -> Remembered:
    row, rules = row_of(unit, str(body.id), write=True)
    if body.version is not None and row.version != body.version:
        raise Problem(
            "conflict", f"it has version {row.version} by now", hint="Read it again.", version=row.version
        )
    for name, now in (("tier", row.tier), ("fact", row.fact), ("agent", row.agent), ("run_id", row.run_id)):
        said = getattr(body, name)
        if said is not None and said != now:
            raise Problem(
                "validation_failed", f"{name} of an item never changes", hint="Put a new item.", field=name
            )
    changed = keeping.change(unit, row._mapping, note, rules=rules)  # pyright: ignore[reportPrivateUsage]
    return shown(unit, changed)


def remove(unit: Unit, body: RemoveItemIn) -> ItemGone:
    """Let an item go; a fact can be brought back for 30 days. Raises `not_found`."""
    row, rules = row_of(unit, body.id, write=True)
    keeping.remove(unit, row._mapping, rules=rules)  # pyright: ignore[reportPrivateUsage]
    return ItemGone(id=body.id, message="It is no longer remembered.")


def pin(unit: Unit, body: PinIn) -> Remembered:
    """Keep an item whatever its term, or let it count again. Raises `not_found`."""
    row, rules = row_of(unit, body.id, write=True)
    return shown(unit, keeping.pin(unit, row._mapping, body.pinned, rules=rules))  # pyright: ignore[reportPrivateUsage]


def set_ttl(unit: Unit, body: TtlIn) -> Remembered:
    """Give an item a term from now on, or none. Raises `not_found`."""
    row, rules = row_of(unit, body.id, write=True)
    ttl = None if body.ttl_s is None else timedelta(seconds=body.ttl_s)
    return shown(unit, keeping.keep_for(unit, row._mapping, ttl, rules=rules))  # pyright: ignore[reportPrivateUsage]


def history(unit: Unit, body: ItemIn) -> History:
    """Every version of an item, newest first; of a removed one, too. Raises `not_found`."""
    row, _ = row_of(unit, body.id, write=False, gone=True)
    told = [
        Version(
            version=one.version, act=one.act, tags=one.tags, source=one.source, by=one.by, at=one.at,
            body=None if one.body is None else keeping.clean(unit, one.body),
        )
        for one in keeping.versions(unit, body.id)
    ]  # fmt: skip
    return History(id=row.id, fact=row.fact or None, items=told)


def undo(unit: Unit, body: UndoIn) -> Remembered:
    """Have an earlier version of a fact hold again. Raises `conflict`, `not_found`."""
    return shown(unit, keeping.undo(unit, body.id, body.version))


def export(unit: Unit, body: ExportIn) -> Export:
    """What is seen from a place and belongs to one agent (or to all), as its file holds it. Raises as `locate`."""
    branch, scope, _ = reading(unit, body, body.agent, None)
    own = [items.c.agent == (body.agent or ""), items.c.tier != "short_term"]
    wanted = sa.select(items).where(*seen(scope), *own, *living(unit)).order_by(items.c.id)
    rows = unit.execute(wanted.limit(_MOST_EXPORTED + 1)).all()
    if len(rows) > _MOST_EXPORTED:
        raise Problem(
            "payload_too_large", f"there are more than {_MOST_EXPORTED} items",
            hint="Take the file in the state folder.", limit=_MOST_EXPORTED,
        )  # fmt: skip
    told = [as_item(unit, row._mapping, branch.repo_name) for row in rows]  # pyright: ignore[reportPrivateUsage]
    return Export(format=FORMAT, repo_name=branch.repo_name, agent=body.agent, items=told)


def import_(unit: Unit, body: ImportIn) -> Imported:
    """Take in items of such a file. Raises `validation_failed`, `quota_exceeded`, and as `locate`."""
    branch, rules = writing(unit, body, shared=body.shared)
    scope = Scope(branch.repo_id, None if body.shared else branch.id, body.agent)
    return take_in(unit, scope, body.items, rules)
