"""Signed checkpoints: a root over all lines so far, by which anybody can prove that a line is in and none changed.

Appending knows nothing of them. A checkpoint verifies the lines since the one before, adds their nodes to the tree and
signs the root: its cost is that of the new lines.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.core import notes
from builderos.core.chain import seed
from builderos.core.context import Context
from builderos.core.files import replace_text
from builderos.core.merkle import WIDTH, Tree, complete, leaf
from builderos.core.problems import Problem
from builderos.core.unit import Unit, as_system
from builderos.trust.signing.service import Signer

from .lines import stored_head, verify_range
from .model import checkpoints, ledger, ledger_nodes

STEP: Final = 65_536  # lines per transaction; what is left goes into the next one
FOLDER: Final = "checkpoints"
_BITS: Final = 8


@dataclass(frozen=True)
class Checkpoint:
    """`note` signs that the first `size` lines have this root (32 bytes)."""

    size: int
    root: bytes
    note: str
    at: datetime


class Altered(Problem):
    """The record is not the one that was recorded: it is not signed, and a person has to look."""

    def __init__(self, line: int | None, reason: str) -> None:
        super().__init__(
            "conflict", f"the ledger is not signed: {reason}",
            hint="Keep the database as it is and compare it with an export or a backup.", line=line,
        )  # fmt: skip


def latest(unit: Unit, *, size: int | None = None) -> Checkpoint | None:
    """The newest checkpoint, or the one of exactly `size` lines."""
    wanted = sa.select(checkpoints).order_by(checkpoints.c.size.desc()).limit(1)
    if size is not None:
        wanted = wanted.where(checkpoints.c.size == size)
    row = unit.execute(wanted).one_or_none()
    return Checkpoint(row.size, row.root, row.note, row.at) if row else None


def stored_tree(unit: Unit) -> Tree:
    """The tree as the database holds it."""
    return Tree(lambda level, tile: _nodes(unit, level, tile * WIDTH, (tile + 1) * WIDTH))


def _nodes(unit: Unit, level: int, first: int, end: int) -> Sequence[bytes]:
    """Nodes first … end - 1 of a level, as far as they are there; level 0 are the lines themselves."""
    if level == 0:
        lines = (
            sa.select(ledger.c.hash).where(ledger.c.seq > first, ledger.c.seq <= end).order_by(ledger.c.seq)
        )
        return [leaf(bytes(hash_)) for hash_ in unit.execute(lines).scalars()]
    n = ledger_nodes.c
    held = sa.select(n.hash).where(n.level == level, n.index >= first, n.index < end).order_by(n.index)
    return [bytes(hash_) for hash_ in unit.execute(held).scalars()]


def extend(unit: Unit) -> Checkpoint | None:
    """Verify and sign what came since the last checkpoint, at most `STEP` lines; None for an empty ledger.

    Raises `Altered` where a line does not fit, or where the lines below the last checkpoint, in the database or in
    the state folder, are no longer those.
    """
    noted = _noted(unit)  # before the table: a twin that signs meanwhile writes it after its row
    last = latest(unit)
    size = last.size if last else 0
    if noted is not None:
        _ensure_as_noted(unit, noted, size)
    if last is not None:
        _ensure_unchanged(unit, last)
    upto = min(stored_head(unit)[0], size + STEP)
    if upto < size:
        raise Altered(upto + 1, f"{size} lines were signed, {upto} are left")
    if upto == size:
        return last
    _ensure_chained(unit, size, upto)
    _grow(unit, size, upto)
    root = stored_tree(unit).root(upto)
    note = unit.get(Signer).sign_checkpoint(unit.org_id, upto, root)
    values = {"org_id": unit.org_id, "size": upto, "root": root, "note": note, "at": unit.now}
    unit.execute(insert(checkpoints).values(values).on_conflict_do_nothing())
    path = _path(unit)
    unit.after_commit(lambda: _keep(path, upto, note))
    return Checkpoint(upto, root, note, unit.now)


def extend_all(context: Context, org_id: str) -> int:
    """Sign everything there is, step by step; how many lines are under the checkpoint afterwards."""
    size = -1
    while True:
        made = as_system(context, org_id, extend)
        if made is None or made.size == size:
            return max(size, 0)
        size = made.size


def _noted(unit: Unit) -> notes.Note | None:
    """The note in the state folder, which no hand in the database reaches; None where there is none yet."""
    try:
        note = notes.parse(_path(unit).read_text("utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise Altered(None, "the checkpoint in the state folder cannot be read") from error
    if not unit.get(Signer).has_signed(unit.org_id, note):
        raise Altered(None, "the checkpoint in the state folder was not signed by this server")
    return note


def _ensure_as_noted(unit: Unit, noted: notes.Note, size: int) -> None:
    """What the table calls signed must go at least as far as the note, and begin with its lines.

    A table that knows less lost its checkpoints: signing from there on would sign whatever the lines are by now.
    """
    if noted.size > size:
        raise Altered(
            None, f"the checkpoint in the state folder counts {noted.size} lines, the database's {size}"
        )
    if stored_root(unit, noted.size) != noted.root:
        raise Altered(None, f"the first {noted.size} lines do not fit the checkpoint in the state folder")


def _path(unit: Unit) -> Path:
    return unit.settings.home_dir / FOLDER / f"{unit.org_id}.txt"


def _ensure_unchanged(unit: Unit, last: Checkpoint) -> None:
    """The root over the last checkpoint's lines must still be its root: what is signed next continues it."""
    if not _is_ours(unit, last):
        raise Altered(None, f"the checkpoint of {last.size} lines was not signed by this server")
    if stored_root(unit, last.size) != last.root:
        raise Altered(None, f"the first {last.size} lines are not those that were signed")


def _is_ours(unit: Unit, last: Checkpoint) -> bool:
    try:
        note = notes.parse(last.note)
    except ValueError:
        return False
    return (note.size, note.root) == (last.size, last.root) and unit.get(Signer).has_signed(unit.org_id, note)


def stored_root(unit: Unit, size: int) -> bytes | None:
    """The root over the first `size` lines; None where lines or nodes are missing."""
    try:
        return stored_tree(unit).root(size)
    except LookupError:
        return None


def _ensure_chained(unit: Unit, size: int, upto: int) -> None:
    verdict = verify_range(unit, (size, _hash_of(unit, size)), upto)
    if not verdict.ok:
        raise Altered(verdict.first_bad, verdict.reason)


def _hash_of(unit: Unit, seq: int) -> bytes:
    if seq == 0:
        return seed(unit.org_id)
    found = unit.execute(sa.select(ledger.c.hash).where(ledger.c.seq == seq)).scalar_one_or_none()
    if found is None:
        raise Altered(seq, f"line {seq} is missing")
    return bytes(found)


def _grow(unit: Unit, size: int, upto: int) -> None:
    """Add the nodes that the lines after `size` complete, level by level."""
    level = 0
    while True:
        bits = _BITS * level
        first = (size >> (bits + _BITS)) * WIDTH
        made = list(complete(first, _nodes(unit, level, first, upto >> bits)))
        if not made:
            return
        level += 1
        rows = [{"org_id": unit.org_id, "level": level, "index": i, "hash": hash_} for i, hash_ in made]
        unit.execute(insert(ledger_nodes).values(rows).on_conflict_do_nothing())


def _keep(path: Path, size: int, note: str) -> None:
    """The newest note as a file: a database that was set back, or written anew, no longer fits it.

    It was held against the lines before they were signed; a twin may have written one since.
    """
    held = _held(path)
    if held is not None and held.size >= size:
        return
    replace_text(path, note, durable=True)


def _held(path: Path) -> notes.Note | None:
    try:
        return notes.parse(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def waiting(unit: Unit) -> tuple[int, str]:
    """How many lines are under no checkpoint yet, and the time of the first of them ("" when there is none)."""
    last = latest(unit)
    size = last.size if last else 0
    count = stored_head(unit)[0] - size
    if count <= 0:
        return 0, ""
    at = sa.cast(ledger.c.body, sa.JSON).op("->>")("at")
    return count, unit.execute(sa.select(at).where(ledger.c.seq == size + 1)).scalar_one_or_none() or ""


def findings(unit: Unit, lines: int) -> list[str]:
    """What does not fit between the ledger (its verified number of lines), its nodes and its checkpoints."""
    path = _path(unit)
    kept = (
        path.read_text("utf-8", errors="replace") if path.exists() else None
    )  # before the table, as in `extend`
    found = list(_wrong_nodes(unit, lines))
    tree = stored_tree(unit)
    rows = unit.execute(sa.select(checkpoints).order_by(checkpoints.c.size)).all()
    for row in rows:
        found += _wrong_note(unit, tree, lines, row.size, row.note, f"the checkpoint of {row.size} lines")
    if kept is None:
        return found
    wrong = list(_wrong_note(unit, tree, lines, None, kept, "the checkpoint in the state folder"))
    if not wrong and notes.parse(kept).size not in {row.size for row in rows}:
        wrong.append("the checkpoint in the state folder is not among the database's")
    return found + wrong


def _wrong_note(unit: Unit, tree: Tree, lines: int, size: int | None, text: str, name: str) -> Iterator[str]:
    try:
        note = notes.parse(text)
    except ValueError:
        yield f"{name} cannot be read"
        return
    if not unit.get(Signer).has_signed(unit.org_id, note) or size not in (None, note.size):
        yield f"{name} was not signed by this server"
    elif note.size > lines:
        yield f"{name} counts {note.size} lines; {lines} are left"
    else:
        try:
            fits = tree.root(note.size) == note.root
        except LookupError:
            fits = False
        if not fits:
            yield f"{name} does not fit the lines"


def _wrong_nodes(unit: Unit, lines: int) -> Iterator[str]:
    """Compute every node again that the newest checkpoint needs."""
    last = latest(unit)
    size = min(lines, last.size) if last else 0
    row = list(_made_of_lines(unit, size))
    level = 1
    while row:
        held = _nodes(unit, level, 0, len(row))
        wrong = next((i for i, hash_ in enumerate(row) if held[i : i + 1] != [hash_]), None)
        if wrong is not None:
            first = wrong << (_BITS * level)
            yield f"the tree over the lines from {first + 1} on was changed"
        row = [hash_ for _, hash_ in complete(0, row)]
        level += 1


def _made_of_lines(unit: Unit, size: int) -> Iterator[bytes]:
    whole = size - size % WIDTH
    for first in range(0, whole, WIDTH * WIDTH):
        end = min(first + WIDTH * WIDTH, whole)
        yield from (hash_ for _, hash_ in complete(first, _nodes(unit, 0, first, end)))
