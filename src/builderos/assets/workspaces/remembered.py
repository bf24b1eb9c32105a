"""The memory index of a branch, read from git at its tip (why there is no copy in SQL: docs/decisions/0008).

Parsed parts are kept by their blob, so a commit costs the next reader the one part it changed; what pushes left to
write is laid over it, so a file that arrived by `git push` is known at once.
"""

import threading
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.service import walk
from builderos.core.unit import Unit
from builderos.trust.notices import service as notices

from . import delivery
from .content import TreeFiles, batch_of, tree_of
from .delivery.lines import Block
from .delivery.memory import Store, hashed, prefer
from .delivery.parse import Unreadable
from .delivery.shapes import MEMORY
from .layout import layout_of
from .places import Place
from .writing import Change, Written, write

MAX_ITEMS: Final = 60_000  # remembered over all branches; about 1.5 kB each
Item = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Doc:
    """One entry with what a search looks at, in lower case. `entry` is shared: nobody may change it."""

    path: str
    entry: Item
    low_path: str
    low_text: str
    tags: tuple[str, ...]
    pinned: bool


@dataclass(frozen=True)
class Remembered:
    """The memory of a branch: `docs` by path, and what could not be read."""

    place: Place
    tip: TreeFiles
    layout: delivery.Layout
    docs: tuple[Doc, ...]
    issues: tuple[delivery.Issue, ...]

    def get(self, path: str) -> Item | None:
        """The entry of one path."""
        at = bisect_left(self.docs, path, key=lambda doc: doc.path)
        return self.docs[at].entry if at < len(self.docs) and self.docs[at].path == path else None


@dataclass(frozen=True, slots=True)
class Parsed:
    """Entries of one part or of a whole memory, and what could not be read of it."""

    docs: tuple[Doc, ...]
    issues: tuple[delivery.Issue, ...] = ()


class Shelf:
    """Parsed things by key, bounded by the number of entries they hold, safe between threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held = 0
        self._items: OrderedDict[tuple[str, ...], Parsed] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, ...]) -> Parsed | None:
        """What is kept under a key."""
        with self._lock:
            found = self._items.get(key)
            if found is not None:
                self._items.move_to_end(key)
            return found

    def put(self, key: tuple[str, ...], parsed: Parsed) -> None:
        """Keep something; what was not used for longest goes."""
        with self._lock:
            old = self._items.pop(key, None)
            self._held += len(parsed.docs) + 1 - (len(old.docs) + 1 if old is not None else 0)
            self._items[key] = parsed
            while self._held > self._size and len(self._items) > 1:
                _, gone = self._items.popitem(last=False)
                self._held -= len(gone.docs) + 1


_PARTS: Final = Shelf(MAX_ITEMS)
_WHOLES: Final = Shelf(MAX_ITEMS)  # holds the same entries, in the order of their paths


def remember(unit: Unit, place: Place) -> Remembered:
    """The memory of a branch as it is now. An unreadable part raises the alert `memory_invalid`."""
    batch = batch_of(unit, place.branch)
    tip = TreeFiles(batch, tree_of(batch, place.branch.tip))
    layout = layout_of(tip)
    whole = _whole(tip, layout, place.branch.store)
    if whole.issues:
        branch, texts = place.branch.name, [f"{i.path}:{i.line}: {i.message}" for i in whole.issues[:20]]
        unit.keep(lambda own: notices.raise_alert(own, "memory_invalid", branch, {"issues": texts}))
    _, pushed = repositories.pending_of(unit, place.branch)
    docs = _overlaid(whole.docs, pushed, tip) if pushed else whole.docs
    return Remembered(place, tip, layout, docs, whole.issues)


def _whole(tip: TreeFiles, layout: delivery.Layout, scope: str) -> Parsed:
    """All entries that count, by path. Kept per store: nobody's file can pose as another's by its id."""
    head, folder = tip.entry(layout.memory), tip.entry(layout.memory_folder)
    key = (scope, layout.memory, head.oid.hex() if head else "", folder.oid.hex() if folder else "")
    found = _WHOLES.get(key)
    if found is None:
        held: dict[str, list[Doc]] = {}
        names = Store(tip, layout).names()
        for name in sorted(names, key=lambda n: (n != "", -len(n), n)):  # the order in which entries count
            for doc in _part(tip, layout, scope, name):
                held.setdefault(doc.path, []).append(doc)
        docs = tuple(_preferred(held[path]) for path in sorted(held))
        found = Parsed(docs, tuple(delivery.memory.issues(tip, layout)))
        _WHOLES.put(key, found)
    return found


def _preferred(docs: list[Doc]) -> Doc:
    if len(docs) == 1:
        return docs[0]
    best = prefer([dict(doc.entry) for doc in docs])
    return next(doc for doc in docs if doc.entry == best)


def _part(tip: TreeFiles, layout: delivery.Layout, scope: str, name: str) -> tuple[Doc, ...]:
    """The entries of `memory.yaml` ("") or of one shard that stand where they are looked for."""
    path = f"{layout.memory_folder}/{name}.yaml" if name else layout.memory
    entry = tip.entry(path)
    if entry is None or not entry.is_file:
        return ()
    key = (scope, name, entry.oid.hex())
    found = _PARTS.get(key)
    if found is None:
        try:
            pairs = Block(MEMORY, tip.read(path)).items()
        except Unreadable:
            pairs = []  # named by delivery.memory.issues
        found = Parsed(tuple(_doc(p, item) for p, item in pairs if hashed(p).startswith(name)))
        _PARTS.put(key, found)
    return found.docs


def _doc(path: str, entry: Item) -> Doc:
    description, tags = entry.get("description"), entry.get("tags")
    words = tuple(t.casefold() for t in tags if isinstance(t, str)) if isinstance(tags, list) else ()  # pyright: ignore[reportUnknownVariableType]
    text = description.casefold() if isinstance(description, str) else ""
    return Doc(path, entry, path.casefold(), text, words, entry.get("pinned") is True)


def _overlaid(docs: tuple[Doc, ...], pushed: Iterable[Item], tip: TreeFiles) -> tuple[Doc, ...]:
    """What the next commit of the server will write: pushes laid over what was there, less what they took."""
    found = {doc.path: doc for doc in docs}
    for item in pushed:
        path = str(item["path"])
        if tip.entry(path) is None:
            found.pop(path, None)
            continue
        known = found.get(path)
        found[path] = _doc(path, {**known.entry, **item} if known is not None else item)
    return tuple(found[path] for path in sorted(found))


def files_of(memory: Remembered) -> Iterator[tuple[str, str]]:
    """(path, blob sha) of every file of the branch that memory may describe: not logs, not the delivery files."""
    for path, mode, oid in walk(memory.tip.batch, memory.tip.tree):
        if mode in (0o100644, 0o100755, 0o100664) and not delivery.is_exempt(path, memory.layout):
            yield path, oid.hex()


def faults(memory: Remembered) -> list[delivery.Issue]:
    """Everything wrong in the memory files, line by line."""
    found: list[delivery.Issue] = []
    store = Store(memory.tip, memory.layout)
    for name in store.names():
        data = memory.tip.read(store.path(name))
        if data is not None:
            found += delivery.validate(store.path(name), data, memory.layout)
    return found


def save(
    unit: Unit,
    memory: Remembered,
    *,
    put: Iterable[Item] = (),
    drop: Iterable[str] = (),
    message: str,
    event: str,
) -> Written:
    """One commit that writes and takes out entries. Raises `validation_failed` for a bad field."""
    edits = delivery.memory.upsert(memory.tip, memory.layout, put)
    edits |= delivery.memory.remove(delivery.Overlay(memory.tip, edits), memory.layout, drop)
    change = Change(
        edits={},
        message=message,
        tool=unit.call.tool,
        delivery=edits,
        about=tuple(sorted(edits)[:20]),
        event=event,
    )
    return write(unit, memory.place, change)
