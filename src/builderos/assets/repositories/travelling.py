"""Trees of runs on their way between machines: what a step made on one of them is there for the next on another.

With one machine nothing travels. With several, each tree that a step leaves is kept in the place that all of them
reach (`Nodes`), as what it adds to the tree its run started from, under its own id. Whoever lacks a tree brings it.
"""

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.assets.artifacts.ports import Altered, ArtifactStore, Missing, Summing
from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.unit import Unit, as_system

from .model import run_trees
from .nodes import Nodes
from .objects import EMPTY_TREE, Batch, Oid, loose_stream, write_loose
from .trees import SUBMODULE, TREE, parse_tree

_LENGTH: Final = 24  # id and length in front of each object, as in the journal's form


class Travels:
    """How the trees of one repository's runs travel. Blocks, and opens units of its own."""

    def __init__(self, context: Context, org_id: str, store: str, place: ArtifactStore) -> None:
        self._context = context
        self._org_id = org_id
        self._store = store
        self._place = place

    @classmethod
    def of(cls, context: Context, org_id: str, store: str) -> "Travels | None":
        """None with one machine."""
        place = context.get(Nodes).place
        return None if place is None else cls(context, org_id, store, place)

    def give(self, batch: Batch, tree: str, base: str) -> None:
        """Keep what a tree adds to a base that every machine can have. Safe to repeat."""
        if tree == base or self._row(tree) is not None:
            return
        draft, summing = self._place.draft(self._org_id), Summing()
        try:
            for oid in _added(batch, bytes.fromhex(tree), bytes.fromhex(base)):
                kind, data = batch.read(oid)
                stream = loose_stream(kind, data)
                piece = oid + len(stream).to_bytes(4, "big") + stream
                draft.write(piece)
                summing.update(piece)
            what = summing.done()
            draft.keep(what)
        finally:
            draft.drop()

        def note(unit: Unit) -> None:
            values = {"org_id": unit.org_id, "store": self._store, "tree": tree, "base": base, "at": unit.now}
            made = insert(run_trees).values(**values, hash=what.hash, size=what.size)
            unit.execute(made.on_conflict_do_nothing())

        as_system(self._context, self._org_id, note)

    def bring(self, objects: str, tree: str) -> None:
        """Write the objects of a tree that are not here. Raises `unavailable` where that cannot be."""
        row = self._row(tree)
        if row is None:
            raise _lost("has not come from the machine that made it")
        summing, rest = Summing(), bytearray()
        try:
            for chunk in self._place.read(self._org_id, row.hash, 0, row.size):
                summing.update(chunk)
                rest += chunk
                _write_out(objects, rest)
        except Missing as error:
            raise _lost("is missing in the place that all machines reach") from error
        except Altered as error:
            raise _lost("was altered in the place that all machines reach") from error
        if rest or summing.done().hash != row.hash:
            raise _lost("was altered in the place that all machines reach")

    def _row(self, tree: str) -> sa.Row[tuple[bytes, int]] | None:
        c = run_trees.c
        wanted = sa.select(c.hash, c.size).where(c.store == self._store, c.tree == tree)
        return as_system(
            self._context, self._org_id, lambda unit: unit.execute(wanted).one_or_none(), read_only=True
        )


def forget_run_trees(unit: Unit, before: datetime, used: Collection[str]) -> int:
    """Let go of trees that were given before a time and are not `used` (hex); returns how many.

    Their bytes stay in the place until it is tidied: another tree may be the same.
    """
    c = run_trees.c
    old = sa.select(c.store, c.tree).where(c.at < before)
    gone = [row for row in unit.execute(old) if row.tree not in used]
    for row in gone:
        unit.execute(sa.delete(run_trees).where(c.store == row.store, c.tree == row.tree))
    return len(gone)


def _lost(what: str) -> Problem:
    return Problem(
        "unavailable",
        f"what an earlier step made {what}",
        hint="Run it again from that step: builderos run rerun.",
    )


def _write_out(objects: str, packed: bytearray) -> None:
    """Write the whole objects at the beginning and take them off.

    The root comes last, so that a tree that is here is here with all that it holds.
    """
    at = 0
    while at + _LENGTH <= len(packed):
        end = at + _LENGTH + int.from_bytes(packed[at + 20 : at + _LENGTH], "big")
        if end > len(packed):
            break
        write_loose(objects, bytes(packed[at : at + 20]), bytes(packed[at + _LENGTH : end]))
        at = end
    del packed[:at]


def _added(batch: Batch, tree: Oid, base: Oid) -> Iterator[Oid]:
    """Objects of a tree that the base does not have at the same path; each behind all that it holds."""
    seen: set[Oid] = set()
    stack: list[tuple[Oid, Oid | None, bool]] = [(tree, base, False)]
    while stack:
        oid, was, ready = stack.pop()
        if ready:
            yield oid
            continue
        if oid in seen or oid == EMPTY_TREE:
            continue
        seen.add(oid)
        stack.append((oid, None, True))
        old = {} if was in (None, EMPTY_TREE) else parse_tree(batch.read(was)[1])
        for name, (mode, below) in parse_tree(batch.read(oid)[1]).items():
            old_mode, before = old.get(name, (0, None))
            if below == before or mode == SUBMODULE or below in seen:
                continue
            if mode == TREE:
                stack.append((below, before if old_mode == TREE else None, False))
            else:
                seen.add(below)
                yield below
