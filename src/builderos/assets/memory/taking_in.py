"""Items of a file into a place: each is looked over as if somebody had typed it."""

from typing import Annotated, Any, cast

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from builderos.core.problems import Problem
from builderos.core.schema import Name
from builderos.core.unit import Unit

from . import keeping
from .items_schema import MAX_BODY, MAX_TAGS, Imported, SourceIn, Tier
from .keeping import Note
from .model import memory_items as items
from .places import Scope, living


class _Item(BaseModel):
    """What counts of an item in a file. Whose it was there, and under which id, does not: it becomes the importer's."""

    model_config = ConfigDict(extra="ignore")

    tier: Tier
    fact: Name | None = None
    body: Annotated[str, Field(min_length=1, max_length=MAX_BODY, pattern="^[^\x00]*$")]
    tags: Annotated[list[Name], Field(max_length=MAX_TAGS)] = []
    pinned: bool = False


def take_in(unit: Unit, scope: Scope, given: list[Any], rules: tuple[str, ...]) -> Imported:
    """Keep these items in a place. One that is there already, word for word, is not kept twice.

    Raises `validation_failed` with the number of the first item that cannot be taken; nothing is kept then.
    """
    added = changed = same = 0
    for number, one in enumerate(given):
        item, source = _read(one, number)
        if item.tier == "short_term" or (item.tier != "semantic" and _known(unit, scope, item)):
            same += 1
            continue
        note = Note(
            body=item.body, tier=item.tier, fact=item.fact or None, tags=tuple(item.tags), source=source, kind="import",
            pinned=item.pinned,
        )  # fmt: skip
        row = keeping.remember(unit, scope, note, rules=rules)
        if row["created_at"] == unit.now:
            added += 1
        elif row["changed_at"] == unit.now:
            changed += 1
        else:
            same += 1
    return Imported(added=added, changed=changed, same=same)


def _read(one: Any, number: int) -> tuple[_Item, dict[str, Any]]:
    try:
        values = cast("dict[str, Any]", one if isinstance(one, dict) else {})
        said = values.get("source")
        source = cast("dict[str, Any]", said if isinstance(said, dict) else {})
        known = {name: source[name] for name in SourceIn.model_fields if name in source}
        values = values | {"fact": values.get("fact") or None}
        return _Item.model_validate(values), SourceIn.model_validate(known).model_dump(exclude_none=True)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise Problem(
            "validation_failed", f"item {number}: {where}: {fault['msg']}",
            hint="Nothing was taken in. Mend the file.", field=f"items.{number}",
        ) from error  # fmt: skip


def _known(unit: Unit, scope: Scope, item: _Item) -> bool:
    c = items.c
    wanted = sa.select(c.id).where(
        c.repo_id == scope.repo_id, c.branch_id == (scope.branch_id or ""), c.agent == (scope.agent or ""),
        c.tier == item.tier, c.body == keeping.clean(unit, item.body), *living(unit),
    )  # fmt: skip
    return unit.execute(wanted.limit(1)).one_or_none() is not None
