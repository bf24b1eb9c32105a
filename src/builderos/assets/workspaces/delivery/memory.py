"""`project/memory.yaml`: one entry per file of the repository (SPEC §4), at a cost that does not grow with
their number.

Up to 200 entries stand in `memory.yaml`. Past that they move into shards `project/memory/<prefix>.yaml`,
where the prefix is the beginning of the hexadecimal SHA-256 of the path; a shard that grows past 200 splits
into sixteen with one more digit. `memory.yaml` is then empty, but people may add entries there by hand: such
an entry counts (unless the shard's is stamped later) and moves into its shard with the next write.

A file that cannot be read is left untouched: writes go around it, into a shard beside or one digit deeper,
and the entries meet again when somebody has mended it. No write fails and no text is lost.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from builderos.assets.workspaces.delivery.flow import Item
from builderos.assets.workspaces.delivery.formats import MemoryEntry, checked
from builderos.assets.workspaces.delivery.layout import Edits, Files, Layout, shard
from builderos.assets.workspaces.delivery.lines import Block, broken, issue
from builderos.assets.workspaces.delivery.parse import Issue, Unreadable
from builderos.assets.workspaces.delivery.shapes import MEMORY
from builderos.assets.workspaces.delivery.stamps import instant


def upsert(files: Files, layout: Layout, items: Iterable[Mapping[str, Any]]) -> Edits:
    """Edits that add entries or change the given fields of them; each item names its `path`.

    Fields not given, among them those people have added, stay. Raises Problem(validation_failed) for a bad
    field.
    """
    store = Store(files, layout)
    for item in [checked(MemoryEntry, item, "memory entry") for item in items]:
        store.put(item["path"], (store.get(item["path"]) or {}) | item)
    return store.edits()


def remove(files: Files, layout: Layout, paths: Iterable[str]) -> Edits:
    """Edits that take entries out; paths without an entry are passed over."""
    store = Store(files, layout)
    for path in paths:
        store.put(path, None)
    return store.edits()


def get(files: Files, layout: Layout, path: str) -> Item | None:
    """The entry of one path; None if there is none."""
    return Store(files, layout).get(path)


def every(files: Files, layout: Layout) -> dict[str, Item]:
    """All entries by path."""
    return Store(files, layout).every()


def issues(files: Files, layout: Layout) -> list[Issue]:
    """Memory files that cannot be read."""
    return Store(files, layout).issues()


def hashed(path: str) -> str:
    """The digits from which a path's shard is chosen."""
    return hashlib.sha256(path.encode("utf-8", "replace")).hexdigest()


def prefer(held: list[Item]) -> Item:
    """Which of several entries of one path counts: the first, unless a later one is stamped later."""
    best = held[0]
    for item in held[1:]:
        mine, other = instant(best.get("last_updated")), instant(item.get("last_updated"))
        if mine and other and other > mine:
            best = item
    return best


class Store:
    """The memory of one tree while it is read or changed; "" is the name of `memory.yaml`, a prefix that of a
    shard.
    """

    def __init__(self, files: Files, layout: Layout) -> None:
        self._files = files
        self._layout = layout
        self._names = {p for name in files.list(layout.memory_folder) if (p := shard(name))}
        self._depth = max(map(len, self._names), default=0)
        self._blocks: dict[str, Block | Unreadable] = {}
        self._gone: set[str] = set()
        self._folded = False

    def path(self, name: str) -> str:
        """Where the part of this name lies."""
        return f"{self._layout.memory_folder}/{name}.yaml" if name else self._layout.memory

    def get(self, path: str) -> Item | None:
        """The entry that counts for a path."""
        held = [item for block in self._holders(hashed(path)) if (item := block.get(path)) is not None]
        return prefer(held) if held else None

    def every(self) -> dict[str, Item]:
        """All entries that count, by path."""
        held: dict[str, list[Item]] = {}
        for name in ["", *sorted(self._names, key=lambda n: (-len(n), n))]:
            block = self._block(name)
            for path, item in block.items() if block is not None else ():
                if hashed(path).startswith(name):  # `get` would not find it elsewhere
                    held.setdefault(path, []).append(item)
        return {path: prefer(items) for path, items in held.items()}

    def names(self) -> list[str]:
        """The parts there are."""
        return ["", *sorted(self._names)]

    def issues(self) -> list[Issue]:
        """The parts that cannot be read."""
        found = [(name, self._open(name)) for name in self.names()]
        return [issue(self.path(name), exc) for name, exc in found if isinstance(exc, Unreadable)]

    def require(self, side: str) -> None:
        """Raise Problem(validation_failed) if a part cannot be read."""
        for name in self.names():
            if isinstance(exc := self._open(name), Unreadable):
                raise broken(self.path(name), exc, side)

    def paths(self, unlike: Mapping[str, bytes]) -> Iterable[str]:
        """The paths that have an entry in a readable part other than those in `unlike`."""
        for name in self.names():
            block = self._block(name)
            if block is not None and self._files.read(self.path(name)) != unlike.get(self.path(name)):
                yield from (path for path, _ in block.items())

    def extras(self) -> Item:
        """Members that people have added to `memory.yaml` beside its entries."""
        head = self._block("")
        return head.extras() if head is not None else {}

    def set_extras(self, extras: Item) -> None:
        """Write other such members."""
        head = self._block("")
        assert head is not None, "callers have made sure that all parts can be read"
        head.set_extras(extras)

    def put(self, path: str, item: Item | None) -> None:
        """Write the entry of a path (None: take it out), wherever it stood before."""
        if not self._folded:
            self._folded = True
            self._fold()
        digits = hashed(path)
        target = self._target(digits)
        for name in ["", *self._prefixes(digits)]:
            block = self._block(name)
            if block is not None and (item is None or name != target):
                block.remove(path)
        if item is not None:
            self._write(target, path, item)
        self._drop_empty(digits)

    def edits(self) -> Edits:
        """What has changed, as file edits."""
        out: Edits = {
            self.path(name): None for name in self._gone if self._files.read(self.path(name)) is not None
        }
        for name, block in self._blocks.items():
            if name not in self._gone and isinstance(block, Block) and block.dirty:
                out[self.path(name)] = block.close()
        return out

    def _open(self, name: str) -> "Block | Unreadable":
        found = self._blocks.get(name)
        if found is None:
            try:
                found = Block(MEMORY, self._files.read(self.path(name)))
            except Unreadable as exc:
                found = exc
            self._blocks[name] = found
        return found

    def _block(self, name: str) -> Block | None:
        found = self._open(name)
        return found if isinstance(found, Block) else None

    def _prefixes(self, digits: str) -> list[str]:
        """The shards there are for a path's digits, the deepest first."""
        return [p for n in range(self._depth, 0, -1) if (p := digits[:n]) in self._names]

    def _holders(self, digits: str) -> list[Block]:
        """The readable parts in which an entry may stand, the one that counts first."""
        return [block for name in ["", *self._prefixes(digits)] if (block := self._block(name)) is not None]

    def _free(self, digits: str) -> str:
        """The shard to begin for a path that has none: as shallow as its neighbours allow."""
        for n in range(1, len(digits)):
            prefix = digits[:n]
            if prefix not in self._names and not any(name.startswith(prefix) for name in self._names):
                return prefix
        return digits

    def _target(self, digits: str) -> str:
        """The readable part into which an entry belongs; a shard that does not exist yet if there is none."""
        if not self._names and self._block("") is not None:
            return ""
        found = next((name for name in self._prefixes(digits) if self._block(name) is not None), None)
        return self._free(digits) if found is None else found

    def _write(self, name: str, path: str, item: Item) -> None:
        block = self._open(name)
        assert isinstance(block, Block), "callers choose readable parts"
        block.put(path, item)
        if name:
            self._add(name)
        if block.over:
            self._split(name, block)

    def _add(self, name: str) -> None:
        self._names.add(name)
        self._gone.discard(name)
        self._depth = max(self._depth, len(name))

    def _split(self, name: str, block: Block) -> None:
        """Hand a part's entries to the sixteen one digit deeper."""
        pairs = block.items()
        if name:
            self._names.discard(name)
            self._gone.add(name)
        else:
            block.clear()
        for path, item in pairs:
            digits = hashed(path)
            child = digits[: len(name) + 1]
            self._write(child if self._block(child) is not None else self._free(digits), path, item)

    def _fold(self) -> None:
        """Move entries added by hand to `memory.yaml` into their shards."""
        head = self._block("")
        if head is None or not self._names or not len(head):
            return
        pairs = [(path, self.get(path)) for path, _ in head.items()]
        head.clear()
        for path, item in pairs:
            self.put(path, item)

    def _drop_empty(self, digits: str) -> None:
        for name in self._prefixes(digits):
            block = self._block(name)
            if block is not None and not len(block):
                self._names.discard(name)
                self._gone.add(name)
