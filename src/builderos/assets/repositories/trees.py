"""Trees without an index: read, edit, walk and compare at the cost of what differs, not of what is there.

The hot paths never build a Python object per field: a tree is cut into its raw entries ("rows": mode, name,
NUL, id) by one regular expression at C speed, rows are found by bisection and spliced, and two trees are
compared as two sets of rows.

Names are bytes in git. Here paths are `str`, with bytes that are not UTF-8 carried as surrogate escapes, so
that old histories survive a round trip; whether a *new* path is acceptable is decided by `paths.check_path`.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, NoReturn, TypeAlias

from builderos.core.paths import MAX_DEPTH, fold
from builderos.core.problems import Problem

from .objects import EMPTY_TREE, Batch, Cut, Oid

TREE: Final = 0o040000
BLOB: Final = 0o100644
EXECUTABLE: Final = 0o100755
LINK: Final = 0o120000
SUBMODULE: Final = 0o160000
_LEAVES: Final = frozenset({BLOB, EXECUTABLE, LINK, SUBMODULE})

_ROW: Final = re.compile(rb"[^\0]+\0.{20}", re.DOTALL)
_FIELDS: Final = re.compile(rb"([0-7]+) ([^\0]+)\0(.{20})", re.DOTALL)
_NOTHING: Final = Cut(b"", [])
_ASCII_ROWS: Final = re.compile(rb"(?:[\x01-\x7f]++\0.{20})*+", re.DOTALL)


class Entry(NamedTuple):
    """What a tree says of one name."""

    mode: int
    oid: Oid

    @property
    def is_tree(self) -> bool:
        """A folder."""
        return self.mode == TREE

    @property
    def is_file(self) -> bool:
        """A regular file, executable or not (git once wrote other permission bits, too)."""
        return self.mode & 0o170000 == 0o100000


class Edit(NamedTuple):
    """What a path is to hold: a blob and its mode; mode None keeps the executable bit of the file that is
    there.
    """

    oid: Oid
    mode: int | None = None


Difference: TypeAlias = tuple[str, Entry | None, Entry | None]
"""Path, what it held before, what it holds after; None where it did not exist."""


@dataclass(slots=True)
class _Node:
    """The edits below one folder, as a tree of their own. `leaf` counts only if `touched`."""

    path: str
    touched: bool = False
    leaf: Edit | None = None
    children: dict[bytes, "_Node"] = field(default_factory=dict[bytes, "_Node"])


# ------------------------------------------------------------------------------------------------ reading


def parse_tree(data: bytes) -> dict[bytes, tuple[int, Oid]]:
    """A tree object's entries in their order: name → (mode, id). Raises ValueError where it is malformed."""
    found = _FIELDS.findall(data)
    modes = {mode: int(mode, 8) for mode in {row[0] for row in found}}
    size = sum(len(mode) + len(name) for mode, name, _ in found) + 22 * len(found)
    if size != len(data):
        raise ValueError("malformed tree")
    return {name: (modes[mode], oid) for mode, name, oid in found}


def format_tree(entries: Mapping[bytes, tuple[int, Oid]]) -> bytes:
    """A tree object's bytes, in git's order: by name, where a folder counts as `name/`."""
    items = sorted(
        (name + b"/" if mode == TREE else name, name, mode, oid) for name, (mode, oid) in entries.items()
    )
    return b"".join(b"%o %s\0%s" % (mode, name, oid) for _, name, mode, oid in items)


def lookup(batch: Batch, tree: Oid, path: str) -> Entry | None:
    """The entry at `path`, a folder included; None where there is none. The path "" is the tree itself."""
    entry = Entry(TREE, tree)
    if not path:
        return entry
    names = _encode(path).split(b"/")
    for depth, name in enumerate(names, 1):
        if not entry.is_tree:
            return None
        cut = _cut(batch, entry.oid)
        at = _find(cut.rows, name, cut.data, folder_first=depth < len(names))
        if at is None:
            return None
        entry = _entry(cut.rows[at])
    return entry


def walk(batch: Batch, tree: Oid, prefix: str = "") -> Iterator[tuple[str, int, Oid]]:
    """(path, mode, id) of every file, link and submodule at or below `prefix`, in git's order."""
    top = lookup(batch, tree, prefix)
    if top is None:
        return
    if not top.is_tree:
        yield prefix, top.mode, top.oid
        return
    stack = [(f"{prefix}/" if prefix else "", iter(_cut(batch, top.oid).rows))]
    while stack:
        folder, rows = stack[-1]
        row = next(rows, None)
        if row is None:
            stack.pop()
            continue
        entry = _entry(row)
        path = folder + _decode(_name(row))
        if entry.is_tree:
            stack.append((f"{path}/", iter(_cut(batch, entry.oid).rows)))
        else:
            yield path, entry.mode, entry.oid


def diff_trees(batch: Batch, a: Oid | None, b: Oid | None) -> Iterator[Difference]:
    """(path, old entry, new entry) of every leaf that differs; None stands for absence. Equal folders are not
    opened.

    Where a file became a folder, the file and each file below the folder are reported. Order: by name, folder
    by folder.
    """
    stack = [iter(_differing(batch, a, b, ""))]
    while stack:
        found = next(stack[-1], None)
        if found is None:
            stack.pop()
            continue
        path, was, now = found
        tree_a = was.oid if was is not None and was.is_tree else None
        tree_b = now.oid if now is not None and now.is_tree else None
        leaf_a = None if tree_a else was
        leaf_b = None if tree_b else now
        if leaf_a is not None or leaf_b is not None:
            yield path, leaf_a, leaf_b
        if tree_a != tree_b:
            stack.append(iter(_differing(batch, tree_a, tree_b, f"{path}/")))


def _differing(batch: Batch, a: Oid | None, b: Oid | None, folder: str) -> list[Difference]:
    """What differs directly in one folder, subfolders included as entries."""
    rows_a = _cut(batch, a).rows if a else []
    rows_b = _cut(batch, b).rows if b else []
    same = set(rows_a).intersection(rows_b)
    old = {_name(row): _entry(row) for row in rows_a if row not in same}
    new = {_name(row): _entry(row) for row in rows_b if row not in same}
    return [
        (folder + _decode(name), old.get(name), new.get(name))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)  # equal: one mode, spelled in two ways
    ]


def fresh_objects(batch: Batch, new_tree: Oid, old_tree: Oid | None) -> Iterator[Oid]:
    """Ids of trees and blobs under `new_tree` that `old_tree` does not hold at the same place, each once."""
    seen: set[Oid] = set()
    stack: list[tuple[Oid, Oid | None]] = [(new_tree, old_tree)]
    while stack:
        new, old = stack.pop()
        if new == old or new in seen:
            continue
        seen.add(new)
        yield new
        rows_old = _cut(batch, old).rows if old else []
        same = set(rows_old)
        before = {_name(row): _entry(row) for row in rows_old} if old else {}
        for row in _cut(batch, new).rows:
            if row in same:
                continue
            entry = _entry(row)
            was = before.get(_name(row))
            if entry.is_tree:
                stack.append((entry.oid, was.oid if was is not None and was.is_tree else None))
            elif entry.mode != SUBMODULE and entry.oid not in seen and (was is None or was.oid != entry.oid):
                seen.add(entry.oid)
                yield entry.oid


def colliding(batch: Batch, tree: Oid, path: str) -> str | None:
    """An existing path that a case-blind or normalising file system takes for the new `path` or a folder
    above it; else None.

    Components that exist exactly as spelled are no collision: they are not new. Within one set of new paths
    ask `paths.first_collision`.
    """
    folder, current = "", tree
    for name in path.split("/"):
        cut = _cut(batch, current)
        at = _find(cut.rows, _encode(name), cut.data)
        if at is None:
            twin = _twin(cut, fold(name))
            return None if twin is None else folder + _decode(twin)
        entry = _entry(cut.rows[at])
        if not entry.is_tree:
            return None
        folder, current = f"{folder}{name}/", entry.oid
    return None


def _twin(cut: Cut, folded: str) -> bytes | None:
    """A name whose folded form is `folded`. Folding each name is dear, so first ask whether one can match at
    all.
    """
    if folded.isascii() and b" %s\0" % folded.encode() in cut.data.lower():
        candidates = cut.rows
    elif _ASCII_ROWS.fullmatch(cut.data) is None:
        candidates = [row for row in cut.rows if not row[:-21].isascii()]
    else:
        return None
    return next((_name(row) for row in candidates if fold(_decode(_name(row))) == folded), None)


# ------------------------------------------------------------------------------------------------ editing


def edit_tree(batch: Batch, tree: Oid | None, edits: Mapping[str, Edit | None]) -> Oid:
    """The tree after `edits`: path → what it is to hold, None to delete it. Each folder is read and written
    once.

    Deletions count before additions, so one set of edits may turn a file into a folder or the reverse. A
    folder that becomes empty disappears, a missing path is deleted without complaint, edits that change
    nothing return the same id. An `Edit` without mode keeps the executable bit of a file and replaces a
    symbolic link by a plain file. Raises `Problem("invalid_path")` where a folder on the way is a file, link
    or submodule, where a file is to be written over a folder or submodule, where a folder is to be deleted by
    its own name, or where a component is empty, `.`, `..` or `.git`; then nothing is built.
    """
    root = _plan(edits)
    result = _edit(batch, tree, root)
    return batch.put("tree", b"") if result is None else result


def _plan(edits: Mapping[str, Edit | None]) -> _Node:
    root = _Node("")
    for path, edit in edits.items():
        if edit is not None and ((edit.mode is not None and edit.mode not in _LEAVES) or len(edit.oid) != 20):
            raise ValueError(f"not an edit: {edit!r}")
        node = root
        names = _encode(path).split(b"/")
        if len(names) > MAX_DEPTH:
            _refuse(path, f"the path is more than {MAX_DEPTH} folders deep", "Use fewer folders.")
        for name in names:
            if name in (b"", b".", b"..") or b"\0" in name or name.lower() == b".git":
                _refuse(path, "a component is empty, `.`, `..`, `.git` or holds NUL", "Correct the path.")
            child = node.children.get(name)
            if child is None:
                child = node.children[name] = _Node(path)
            node = child
        node.path, node.touched, node.leaf = path, True, edit
    return root


def _edit(batch: Batch, tree: Oid | None, node: _Node) -> Oid | None:
    """The folder's new id; None where nothing is left in it."""
    before = _cut(batch, tree) if tree else _NOTHING
    rows = before.rows.copy()
    for name, child in node.children.items():
        at = _find(rows, name, before.data, folder_first=bool(child.children))
        was = None if at is None else _entry(rows[at])
        now = _edit_entry(batch, was, child)
        if now != was:
            _splice(rows, at, name, now)
    if not rows:
        return None
    if tree and rows == before.rows:
        return tree
    data = b"".join(rows)
    oid = batch.put("tree", data)
    batch.keep_cut(oid, Cut(data, rows))
    return oid


def _edit_entry(batch: Batch, was: Entry | None, node: _Node) -> Entry | None:
    if was is not None and was.is_tree and node.touched and (node.leaf is None or not node.children):
        if node.leaf is None:
            _refuse(
                node.path, "a folder cannot be deleted by its own name", "Delete the files in it by name."
            )
        _refuse(node.path, "there is a folder of this name", "Choose another name or delete the files in it.")
    if not node.children:
        return was if not node.touched else _leaf(was, node)
    below = was.oid if was is not None and was.is_tree else None
    if was is not None and below is None and not node.touched:
        _refuse(
            _any_path(node), "a folder of this path is a file, link or submodule", "Choose another folder."
        )
    folder = _edit(batch, below, node)
    if node.leaf is None:
        return None if folder is None else Entry(TREE, folder)
    if folder is not None:
        _refuse(node.path, "it would be a file and a folder at once", "Choose another name.")
    return _leaf(was, node)


def _leaf(was: Entry | None, node: _Node) -> Entry | None:
    edit = node.leaf
    if edit is None:
        return None
    if edit.mode is not None:
        return Entry(edit.mode, edit.oid)
    if was is not None and was.mode == SUBMODULE:
        _refuse(node.path, "there is a submodule of this name", "Choose another name.")
    executable = was is not None and was.is_file and was.mode & 0o111 != 0
    return Entry(EXECUTABLE if executable else BLOB, edit.oid)


def _any_path(node: _Node) -> str:
    while node.children:
        node = next(iter(node.children.values()))
    return node.path


def _splice(rows: list[bytes], at: int | None, name: bytes, now: Entry | None) -> None:
    if at is not None:
        del rows[at]
    if now is not None:
        key = name + b"/" if now.is_tree else name
        rows.insert(bisect_left(rows, key, key=_sort_key), b"%o %s\0%s" % (now.mode, name, now.oid))


# ------------------------------------------------------------------------------------------------ rows


def _cut(batch: Batch, tree: Oid) -> Cut:
    cut = batch.cut(tree)
    if cut is None:
        kind, data = ("tree", b"") if tree == EMPTY_TREE else batch.read(tree)
        if kind != "tree":
            raise ValueError(f"{tree.hex()} is a {kind}, not a tree")
        rows: list[bytes] = _ROW.findall(data)
        if b"".join(rows) != data:
            raise ValueError(f"{tree.hex()} is a malformed tree")
        cut = Cut(data, rows)
        batch.keep_cut(tree, cut)
    return cut


def _find(rows: list[bytes], name: bytes, data: bytes, *, folder_first: bool = False) -> int | None:
    """Where `name` stands among `rows`; `data`, the tree they came from, is searched for it first, at C speed."""
    if b" %s\0" % name not in data:
        return None
    keys = (name + b"/", name) if folder_first else (name, name + b"/")
    for key in keys:
        at = bisect_left(rows, key, key=_sort_key)
        if at < len(rows) and _sort_key(rows[at]) == key:
            return at
    # A tree in the wrong order, as some old tools wrote them, hides names from bisection.
    return next((at for at, row in enumerate(rows) if _name(row) == name), None)


def _sort_key(row: bytes) -> bytes:
    if row[:7] == b"100644 ":  # most rows: bisection asks for more than a hundred keys in a commit
        return row[7:-21]
    mode, _, name = row[:-21].partition(b" ")
    return name + b"/" if mode in (b"40000", b"040000") else name


def _name(row: bytes) -> bytes:
    return row[row.index(b" ") + 1 : -21]


def _entry(row: bytes) -> Entry:
    return Entry(int(row[: row.index(b" ")], 8), row[-20:])


def _encode(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def _decode(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _refuse(path: str, why: str, hint: str) -> NoReturn:
    shown = path.encode("utf-8", "backslashreplace").decode()[:200]
    raise Problem("invalid_path", f"{why}: `{shown}`", hint=hint, path=shown)
