"""Append-only logs that rotate: the changelog and the log of reverts.

The head file holds at most 200 entries (or 256 KiB). Before it would hold more, its text moves as it is into
`<folder>/<n>.yaml`, numbered from 000000, and a new head begins; a rotated block is never
written again by an append.

A head that cannot be read (broken by hand) costs nobody their commit and loses no text: it moves as it is to
`<folder>/<n>.yaml.broken`, a new head begins, and the alert lasts as long as that file is there. Whoever
mends it renames it to `<n>.yaml`, which puts its entries back into their place in the order.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, cast

from builderos.assets.workspaces.delivery.flow import Item
from builderos.assets.workspaces.delivery.layout import Edits, Files, rotated
from builderos.assets.workspaces.delivery.lines import Block, Lru, digest, issue
from builderos.assets.workspaces.delivery.parse import Issue, Unreadable
from builderos.assets.workspaces.delivery.shapes import Shape, key_of

_IDS = Lru[frozenset[str]](512)


PATHS_CHARS: Final = 16 << 10
WORDS_CHARS: Final = 8 << 10


def shortened(entry: Mapping[str, Any], words: str) -> dict[str, Any]:
    """An entry of which neither a long text nor thousands of paths can fail the commit it is about."""
    out = dict(entry)
    said, paths = out.get(words), out.get("paths")
    if isinstance(said, str) and len(said) > WORDS_CHARS:
        out[words] = said[:WORDS_CHARS] + "…"
    if isinstance(paths, list) and len(names := cast("list[str]", paths)) > 1:
        ends = accumulate(len(str(name)) for name in names)
        kept = sum(1 for end in ends if end <= PATHS_CHARS)
        if kept < len(names):
            out |= {"paths": names[:kept], "paths_omitted": out.get("paths_omitted", 0) + len(names) - kept}
    return out


@dataclass(frozen=True, slots=True)
class Log:
    """One log of a tree: `head` is its file, `folder` holds the rotated blocks."""

    shape: Shape
    head: str
    folder: str

    def blocks(self, files: Files) -> list[str]:
        """Paths of the readable parts, oldest first, the head last."""
        found = sorted((n[0], name) for name in files.list(self.folder) if (n := rotated(name)) and not n[1])
        return [f"{self.folder}/{name}" for _, name in found] + [self.head]

    def aside(self, files: Files) -> list[str]:
        """Paths of the broken heads that were set aside."""
        return [
            f"{self.folder}/{name}"
            for name in sorted(files.list(self.folder))
            if (n := rotated(name)) and n[1]
        ]

    def next_number(self, files: Files) -> int:
        """The number of the next rotated block."""
        return max((n[0] + 1 for name in files.list(self.folder) if (n := rotated(name))), default=0)

    def append(self, files: Files, items: Iterable[Item]) -> Edits:
        """Edits that add `items` after the newest; one whose id the head already holds is left out."""
        edits: Edits = {}
        was = files.read(self.head)
        number: int | None = None
        try:
            block = Block(self.shape, was)
        except Unreadable:
            number = self.next_number(files)
            edits[f"{self.folder}/{number:06d}.yaml.broken"] = was
            number, block = number + 1, Block(self.shape, None)
        for item in items:
            key = key_of(self.shape, item)
            if key in block:
                continue
            if block.full:
                number = self.next_number(files) if number is None else number
                edits[f"{self.folder}/{number:06d}.yaml"] = block.close()
                number, block = number + 1, Block(self.shape, None)
            block.append(key, item)
        if block.dirty:
            edits[self.head] = block.close()
        return edits

    def entries(self, files: Files) -> Iterator[Item]:
        """All entries, newest last. A block that cannot be read is passed over; `issues` names it."""
        for path in self.blocks(files):
            try:
                yield from (item for _, item in Block(self.shape, files.read(path)).items())
            except Unreadable:
                continue  # reported by issues(), which the caller turns into the alert

    def issues(self, files: Files) -> list[Issue]:
        """What cannot be read, and what was set aside."""
        found: list[Issue] = []
        for path in self.blocks(files):
            try:
                Block(self.shape, files.read(path))
            except Unreadable as exc:
                found.append(issue(path, exc))
        for path in self.aside(files):
            hint = f"Mend it and rename it to {path.removesuffix('.broken')}, or delete it."
            found.append(Issue(path, 1, "a file that could not be read was set aside", hint))
        return found

    def ids(self, data: bytes) -> frozenset[str]:
        """The keys of the entries in one block. Raises Unreadable."""
        name = (self.shape.name, digest(data))
        known = _IDS.get(name)
        if known is None:
            known = frozenset(key for key, _ in Block(self.shape, data).items())
            _IDS.put(name, known)
        return known
