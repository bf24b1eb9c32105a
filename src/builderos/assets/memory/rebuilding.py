"""Rows that the database has lost come back from the files of agents, where the ledger knows them.

Anybody may have written a file; nobody the ledger. It holds where an item belongs and which version it has, so an item
comes back only as the ledger's last line about it has it, and never when that line says that it was removed.
"""

import json
import logging
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final, cast

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError

from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.home import PROJECTS
from builderos.core.problems import Problem
from builderos.core.unit import Unit, as_system
from builderos.trust.ledger import service as ledger

from . import vectors
from .files import FORMAT
from .model import memory_items as items
from .model import memory_space as space
from .places import living

log = logging.getLogger("builderos.memory")
_PART: Final = 500
_ACTS: Final = (
    "memory.put",
    "memory.undone",
    "memory.pinned",
    "memory.unpinned",
    "memory.term",
    "memory.removed",
)
_TIMES: Final = ("created_at", "changed_at", "expires_at")


def missing(unit: Unit) -> list[str]:
    """Ids of items of all organisations that a file and the ledger know and no row does."""
    found: list[str] = []
    for org_id in unit.get(Database).organisations("settle"):
        lost = as_system(unit.context, org_id, lambda own: [one["id"] for one in _lost(own)], read_only=True)
        found += lost
    return found


def rebuild(context: Context) -> list[str]:
    """Put these rows back; returns the ids of those that could not be, with the reason."""
    failed: list[str] = []
    for org_id in context.get(Database).organisations("settle"):
        for item in as_system(context, org_id, _lost, read_only=True):
            try:
                as_system(context, org_id, lambda unit, one=item: _put_back(unit, one))
            except (Problem, ValueError, KeyError, TypeError, DBAPIError) as error:
                log.warning("%s could not be put back: %s", item["id"], type(error).__name__)
                failed.append(f"{item['id']} ({type(error).__name__})")
    return failed


def _lost(unit: Unit) -> list[dict[str, Any]]:
    """Items of this organisation's files that have no row although they are to have one."""
    told = {item["id"]: item for item in _told(unit.settings.home_dir / PROJECTS / unit.org_id)}
    ids, there = sorted(told), set[str]()
    for at in range(0, len(ids), _PART):
        there.update(
            unit.execute(sa.select(items.c.id).where(items.c.id.in_(ids[at : at + _PART]))).scalars()
        )
    return [told[id_] for id_ in ids if id_ not in there and _is_known(unit, told[id_])]


def _told(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*/memory/*.json")):
        try:
            document: Any = json.loads(path.read_bytes())
            listed: Any = document["items"] if document["format"] == FORMAT else []
        except (OSError, ValueError, KeyError, TypeError):
            log.warning("%s is no file of a memory", path.name)
            continue
        yield from (
            cast("dict[str, Any]", one)
            for one in cast("list[Any]", listed)
            if isinstance(one, dict) and isinstance(cast("dict[str, Any]", one).get("id"), str)
        )


def _is_known(unit: Unit, item: dict[str, Any]) -> bool:
    lines = [
        line for type_ in _ACTS for line in ledger.lines_about(unit, item["id"], type_=type_, limit=None)
    ]
    last = max(lines, key=lambda line: line["seq"], default=None)
    if last is None or last["type"] == "memory.removed":
        return False
    said: dict[str, Any] = last["payload"]
    names = ("repo_id", "branch_id", "agent", "run_id", "tier", "version")
    return all(said.get(name, "") == item.get(name) for name in names)


def _put_back(unit: Unit, item: dict[str, Any]) -> None:
    """The row as the file has it, with a vector of today's model. Its earlier versions are not in the file."""
    values = {name: item[name] for name in items.c.keys() if name in item}  # noqa: SIM118 - no dictionary
    for name in _TIMES:
        values[name] = datetime.fromisoformat(values[name]) if values.get(name) else None
    unit.execute(sa.insert(items).values(**values, org_id=unit.org_id))
    row = unit.execute(sa.select(items).where(items.c.id == item["id"], *living(unit))).one_or_none()
    if row is not None:
        vectors.put(unit, row._mapping, f"{row.fact} {row.body}".strip())  # pyright: ignore[reportPrivateUsage]
    counted = insert(space).values(org_id=unit.org_id, held=1)
    again = counted.on_conflict_do_update(index_elements=["org_id"], set_={"held": space.c.held + 1})
    unit.execute(again)
