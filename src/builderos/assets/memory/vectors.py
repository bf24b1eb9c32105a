"""Vectors of items: made with the model that the server has now, and made anew when that is another one.

A model in this process answers in the transaction that keeps an item. Any other is asked behind it, so that no
transaction waits for a network; until then, and while it does not answer, the item is found by its words.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.unit import Call, Unit, perform

from .model import memory_items as items
from .model import memory_vectors as vectors
from .places import living
from .ports import Embedder, Embedding

log = logging.getLogger("builderos.memory")
BATCH: Final = 64
_MOST_NUMBERS: Final = 3072
_LARGEST: Final = 60_000.0  # what half a precision holds; nor is it a NaN
_TEXT: Final = sa.func.concat_ws(" ", sa.func.nullif(items.c.fact, ""), items.c.body)


@dataclass(frozen=True)
class Waiting:
    """An item without a vector of today's model."""

    id: str
    version: int
    text: str


def embedder(unit: Unit) -> Embedder:
    """The server's."""
    return unit.get(Embedding).embedder


def as_text(vector: Sequence[float]) -> str:
    """A vector as the database reads it. Raises `upstream_failed` for one it cannot hold."""
    if not 0 < len(vector) <= _MOST_NUMBERS or any(not abs(value) <= _LARGEST for value in vector):
        raise Problem(
            "upstream_failed", f"the model gave a vector of {len(vector)} numbers that cannot be kept",
            hint=f"Choose a model whose vectors have at most {_MOST_NUMBERS} numbers.",
        )  # fmt: skip
    return "[" + ",".join(f"{value:.5g}" for value in vector) + "]"


def put(unit: Unit, row: Any, text: str) -> None:
    """See to a vector of an item that is being kept."""
    model = embedder(unit)
    drop(unit, row["id"])
    if model.local:
        [vector] = model.embed(unit.context, unit.call, [text])
        _insert(unit, row, model, vector)
        return
    context, call = unit.context, unit.call
    waiting = [Waiting(row["id"], row["version"], text)]
    unit.after_commit(lambda: _later(context, call, waiting))


def _later(context: Context, call: Call, waiting: list[Waiting]) -> None:
    try:
        fill(context, call, waiting)
    except Problem as problem:
        log.warning("an item of the memory gets its vector later: %s", problem.detail)


def drop(unit: Unit, id_: str) -> None:
    """Forget an item's vector."""
    unit.execute(sa.delete(vectors).where(vectors.c.item_id == id_))


def until(row: Any) -> datetime | None:
    """How long a vector counts; None: without end."""
    return None if row["pinned"] else row["expires_at"]


def keep_until(unit: Unit, row: Any) -> None:
    """An item's term has changed."""
    unit.execute(sa.update(vectors).where(vectors.c.item_id == row["id"]).values(until=until(row)))


def _insert(unit: Unit, row: Any, model: Embedder, vector: Sequence[float]) -> None:
    if not any(vector):
        return  # nothing that could be compared
    place = {name: row[name] for name in ("org_id", "repo_id", "branch_id", "agent", "run_id", "tier")}
    values: dict[str, Any] = {
        "item_id": row["id"], **place, "model": model.name, "dim": len(vector),
        "until": until(row), "emb": as_text(vector),
    }  # fmt: skip
    made = insert(vectors).values(**values)
    renewed = {name: made.excluded[name] for name in ("model", "dim", "until", "emb")}
    unit.execute(made.on_conflict_do_update(index_elements=["item_id"], set_=renewed))


def stale(unit: Unit, conditions: Sequence[sa.ColumnElement[bool]], limit: int) -> list[Waiting]:
    """Living items that have no vector of today's model."""
    has = sa.exists().where(vectors.c.item_id == items.c.id, vectors.c.model == embedder(unit).name)
    wanted = sa.select(items.c.id, items.c.version, _TEXT.label("text")).where(
        *conditions, *living(unit), ~has, items.c.body.op("~")("[[:alnum:]]")
    )
    found = unit.execute(wanted.order_by(items.c.id).limit(limit))
    return [Waiting(row.id, row.version, row.text) for row in found]


def fill(context: Context, call: Call, waiting: Sequence[Waiting]) -> int:
    """Make vectors of these items, outside of any transaction, and keep those of items that are still the same."""
    model, done = context.get(Embedding).embedder, 0
    for at in range(0, len(waiting), BATCH):
        part = waiting[at : at + BATCH]
        made = model.embed(context, call, [one.text for one in part])
        if len(made) != len(part):
            raise Problem("upstream_failed", f"{len(part)} vectors were asked for, {len(made)} came")
        done += perform(context, call, lambda unit, p=part, m=made: _fill(unit, model, p, m))
    return done


def _fill(unit: Unit, model: Embedder, part: Sequence[Waiting], made: Sequence[Sequence[float]]) -> int:
    wanted = sa.select(items).where(items.c.id.in_([one.id for one in part]), *living(unit))
    rows = {row.id: row._mapping for row in unit.execute(wanted.with_for_update())}  # pyright: ignore[reportPrivateUsage]
    same = [(rows[one.id], v) for one, v in zip(part, made, strict=True)
            if one.id in rows and rows[one.id]["version"] == one.version]  # fmt: skip
    for row, vector in same:
        _insert(unit, row, model, vector)
    return len(same)


def make_now(unit: Unit, waiting: Sequence[Waiting]) -> list[str]:
    """Make these vectors in this transaction; with a model that is elsewhere, right behind it. Ids of those made."""
    model = embedder(unit)
    if model.local:
        made = model.embed(unit.context, unit.call, [one.text for one in waiting])
        _fill(unit, model, waiting, made)
        return [one.id for one in waiting]
    context, call = unit.context, unit.call
    unit.after_commit(lambda: _later(context, call, list(waiting)))
    return []


def of_query(unit: Unit, text: str) -> list[float]:
    """The vector of a question. Raises as `Embedder.embed`."""
    [vector] = embedder(unit).embed(unit.context, unit.call, [text])
    return vector
