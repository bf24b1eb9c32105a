"""One item, one line: the form in which the server writes delivery files, and edits that touch only that
line.

An item is a line of JSON inside YAML (`- {"id": …}`), so finding is a byte search, reading is `json.loads`
and writing is a splice. What is known of a content (that each item is such a line, how many there are) is
remembered by its hash, so that a commit never parses the file it changes. A file that a person has edited
keeps its text: an edit is spliced in as well, then proved by a parse to change that item and nothing else; if
it cannot be, the file is rewritten in the server's form (leading comments stay).
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

from builderos.assets.workspaces.delivery.flow import Item, flow
from builderos.assets.workspaces.delivery.parse import FILE_BYTES, Issue, Unreadable
from builderos.assets.workspaces.delivery.shapes import (
    UNSAFE,
    Document,
    Pairs,
    Shape,
    canonical,
    comments_of,
    dump,
    own_line,
    read,
    strict,
)
from builderos.core.problems import Problem

Held = TypeVar("Held")

BLOCK_ITEMS: Final = 200  # SPEC §4: past this a file rotates or shards
BLOCK_BYTES: Final = 256 << 10


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one content.

    `ours`: keys whose items stand on a line of the server's form (None: all do, and nothing else stands
    between). `theirs`: keys whose items a person wrote in another form. `tail`: a line put at the end becomes
    the last item.
    """

    count: int
    indent: str
    ours: frozenset[str] | None = None
    theirs: frozenset[str] = frozenset()
    tail: bool = True


Held = TypeVar("Held")


class Lru(Generic[Held]):
    """A bounded map by content, safe between threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: OrderedDict[tuple[str, bytes], Held] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, bytes]) -> Held | None:
        """What is held for `key`; None if nothing is."""
        with self._lock:
            value = self._held.get(key)
            if value is not None:
                self._held.move_to_end(key)
            return value

    def put(self, key: tuple[str, bytes], value: Held) -> None:
        """Hold `value`; the one unused for longest makes room."""
        with self._lock:
            self._held[key] = value
            self._held.move_to_end(key)
            if len(self._held) > self._size:
                self._held.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._held.clear()


KNOWN: Final = Lru["Known | Unreadable"](1024)
_PAIRS: Final = Lru[Pairs](64)  # a merge reads the same few blocks of both sides again and again


def digest(data: bytes) -> bytes:
    """Content hash by which knowledge of a file is kept (a weak one would let one file pose as another)."""
    return hashlib.sha256(data).digest()


def _study(shape: Shape, data: bytes) -> Known:
    """Learn what a content is. Raises Unreadable."""
    if len(data) <= FILE_BYTES and (pairs := canonical(shape, data)) is not None:
        return Known(len(pairs), shape.indent)
    return _study_document(shape, read(shape, data))


def _study_document(shape: Shape, doc: Document) -> Known:
    indents = [doc.text[e.edge : e.start] for e in doc.entries]
    indent = indents[0] if indents and not indents[0].strip(" ") else shape.indent
    ours: set[str] = set()
    for entry, before in zip(doc.entries, indents, strict=True):
        stop = doc.text.find("\n", entry.edge)
        line = doc.text[entry.start : stop if stop >= 0 else len(doc.text)].rstrip("\r")
        own = before == indent and entry.end == entry.start + len(line) and not UNSAFE.search(line)
        # Found by search later, so the first place that looks like the item must be the item.
        own = own and _search(doc.text, indent + shape.start(entry.key)) == entry.edge
        if own and own_line(shape, line) == (entry.key, entry.item):
            ours.add(entry.key)
    keys = frozenset(e.key for e in doc.entries)
    # A key that stands twice is treated as foreign: only the parse can tell which of the two counts.
    once = ours if len(keys) == len(doc.entries) else set[str]()
    return Known(len(doc.entries), indent, frozenset(once), keys - once, tail=False)


def _search(text: str, begin: str) -> int:
    """Where the first line that starts with `begin` begins; -1 if none does."""
    if text.startswith(begin):
        return 0
    return text.find("\n" + begin) + 1 or -1


class Block:
    """One delivery file, opened for reading and editing. Keys are ids, paths or task ids, by shape."""

    def __init__(self, shape: Shape, data: bytes | None) -> None:
        """Open a file's bytes (None: it does not exist yet). Raises Unreadable; a second time from memory."""
        self.shape = shape
        self._was = data
        self.data = shape.empty.encode() if data is None else data.removeprefix(b"\xef\xbb\xbf")
        self._changed = self._touched = False
        name = (shape.name, digest(self.data))
        known = KNOWN.get(name)
        if known is None:
            try:
                known = _study(shape, self.data)
            except Unreadable as exc:
                known = Unreadable(exc.line, exc.message, exc.hint)  # without the frames that hold the text
            KNOWN.put(name, known)
        if isinstance(known, Unreadable):
            raise Unreadable(known.line, known.message, known.hint)
        self.known = known

    def __len__(self) -> int:
        return self.known.count

    @property
    def full(self) -> bool:
        """Whether the next item belongs into another file."""
        return self.known.count >= BLOCK_ITEMS or (self.known.count > 0 and len(self.data) > BLOCK_BYTES)

    @property
    def over(self) -> bool:
        """Whether it holds more than one file should."""
        return self.known.count > BLOCK_ITEMS or (self.known.count > 1 and len(self.data) > BLOCK_BYTES)

    def items(self) -> Pairs:
        """All items in the order of the file; of two with one key the later."""
        name = (self.shape.name, digest(self.data))
        pairs = _PAIRS.get(name)
        if pairs is None:
            pairs = canonical(self.shape, self.data) if self.known.ours is None else None
            pairs = pairs if pairs is not None else list(read(self.shape, self.data).pairs.items())
            _PAIRS.put(name, pairs)
        return [(key, dict(item)) for key, item in pairs]

    def unlike(self, others: Iterable["Block"]) -> Pairs:
        """The items, without those of which another block has the very same line (where that can be told by lines)."""
        if self.known.ours is not None:
            return self.items()
        same = {line for other in others if other.known.ours is None for line in other.data.split(b"\n")}
        lines = [line for line in self.data.split(b"\n") if line not in same]
        found = (own_line(self.shape, line[len(self.shape.indent) :].decode()) for line in lines)
        return [
            pair for pair in found if pair is not None
        ]  # what is none of the server's lines is head or comment

    def get(self, key: str) -> Item | None:
        """One item; None if there is none."""
        found = self._span(key)
        if found:
            line = self.data[found[0] : found[1]].decode()
            own = own_line(self.shape, line)
            return own[1] if own else None
        return read(self.shape, self.data).pairs[key] if key in self.known.theirs else None

    def __contains__(self, key: str) -> bool:
        return key in self.known.theirs or self._span(key) is not None

    def append(self, key: str, item: Item) -> None:
        """Add an item after the last, without looking whether there is one of this key."""
        line = self.shape.line(key, item)
        known = self.known
        if known.ours is None and known.count == 0:
            head = self.shape.head + self.shape.indent
            self._set(f"{comments_of(self.data.decode())}{head}{line}\n".encode(), replace(known, count=1))
        elif known.tail:
            data = self.data if self.data.endswith(b"\n") else self.data + b"\n"
            self._set(data + f"{known.indent}{line}\n".encode(), _grown(known, key))
        else:
            self._by_parse(key, item, line)

    def put(self, key: str, item: Item) -> None:
        """Replace the item of this key where it stands, or append it."""
        found = self._span(key)
        if found:
            line = self.shape.line(key, item).encode()
            self._set(self.data[: found[0]] + line + self.data[found[1] :], self.known)
        elif key in self.known.theirs:
            self._by_parse(key, item, self.shape.line(key, item))
        else:
            self.append(key, item)

    def remove(self, key: str) -> None:
        """Take the item of this key out; nothing happens if there is none."""
        found = self._span(key)
        if found and self.known.count > 1:
            start = found[0] - len(self.known.indent)
            known = self.known
            ours = None if known.ours is None else known.ours - {key}
            stop = self.data.find(b"\n", found[1]) + 1 or len(self.data)
            known = replace(known, count=known.count - 1, ours=ours)
            # What follows the last item may depend on it, so the next append is proved again.
            self._set(
                self.data[:start] + self.data[stop:], known if ours is None else replace(known, tail=False)
            )
        elif found and self.known.ours is None:
            self._set(
                dump(self.shape, [], comments=comments_of(self.data.decode())), replace(self.known, count=0)
            )
        elif found or key in self.known.theirs:
            self._by_parse(key, None, "")

    def clear(self) -> None:
        """Take all items out; leading comments and foreign members stay."""
        doc = read(self.shape, self.data)
        self._set(dump(self.shape, [], comments=comments_of(doc.text), extras=doc.extras), None)

    def extras(self) -> Item:
        """Members beside the items that people have added to the file."""
        return {} if self.known.ours is None or not self.shape.field else read(self.shape, self.data).extras

    def set_extras(self, extras: Item) -> None:
        """Write other members beside the items; rewrites the file."""
        doc = read(self.shape, self.data)
        self._set(dump(self.shape, doc.pairs.items(), comments=comments_of(doc.text), extras=extras), None)

    def close(self) -> bytes:
        """The file's bytes, and what is known of them kept for the next time.

        Raises Problem(validation_failed) if the file has outgrown what is read back (FILE_BYTES).
        """
        if len(self.data) > FILE_BYTES:
            raise Problem(
                "validation_failed",
                f"The {self.shape.name} file would have {len(self.data)} bytes; at most {FILE_BYTES} fit.",
                hint="Remove items that are no longer needed.",
                limit=FILE_BYTES,
            )
        if self._changed:
            KNOWN.put((self.shape.name, digest(self.data)), self.known)
            self._changed = False
        return self.data

    @property
    def dirty(self) -> bool:
        """Whether the bytes differ from those it was opened with."""
        return self._touched and self.data != self._was

    def _set(self, data: bytes, known: Known | None) -> None:
        self.data, self._changed, self._touched = data, True, True
        self.known = known or _study(self.shape, data)

    def _span(self, key: str) -> tuple[int, int] | None:
        """Where the line of an item of the server's form stands, without indentation and newline."""
        known = self.known
        if known.count == 0 or (known.ours is not None and key not in known.ours):
            return None
        begin = f"{known.indent}{self.shape.start(key)}".encode()
        at = 0 if self.data.startswith(begin) else self.data.find(b"\n" + begin) + 1
        if at == 0 and not self.data.startswith(begin):
            return None
        stop = self.data.find(b"\n", at)
        stop = len(self.data) if stop < 0 else stop
        stop -= self.data[stop - 1 : stop] == b"\r"
        return at + len(known.indent), stop

    def _by_parse(self, key: str, item: Item | None, line: str) -> None:
        """Edit a file of a person's making: splice, prove by a parse, else rewrite it in the server's form."""
        doc = read(self.shape, self.data)
        want = doc.pairs
        if item is None:
            want.pop(key, None)
        else:
            want[key] = strict(flow(item))
        spliced = _splice(doc, key, line, self.known.indent)
        if spliced is not None:
            data, at_end = spliced
            try:
                got = read(self.shape, data.encode())
            except Unreadable:
                got = None  # the splice does not fit this text, so it is not used
            if got and _same(got, want, doc):
                known = _study_document(self.shape, got)
                self._set(data.encode(), replace(known, tail=at_end))
                return
        self._set(dump(self.shape, want.items(), comments=comments_of(doc.text), extras=doc.extras), None)

    @staticmethod
    def require(shape: Shape, path: str, data: bytes | None, side: str = "") -> "Block":
        """Open a file or raise Problem(validation_failed) that names side, file, line and what to do."""
        try:
            return Block(shape, data)
        except Unreadable as exc:
            raise broken(path, exc, side) from exc


def broken(path: str, exc: Unreadable, side: str = "") -> Problem:
    """The refusal to work on a file that cannot be read; `side` says of which tree in a merge."""
    hint = exc.hint or "Correct this line by hand and commit the file."
    where = f"{path} ({side})" if side else path
    detail = f"{where}, line {exc.line}: {exc.message}."
    problem = Problem("validation_failed", detail, hint=hint, path=path, line=exc.line)
    if side:
        problem.extra["side"] = side
    return problem


def issue(path: str, exc: Unreadable) -> Issue:
    """The same as a finding."""
    return Issue(path, exc.line, exc.message, exc.hint)


def _same(got: Document, items: dict[str, Item], was: Document) -> bool:
    """Whether a spliced text says exactly what it should."""
    entries = [(entry.key, entry.item) for entry in got.entries]
    return entries == list(items.items()) and got.extras == was.extras and got.members == was.members


def _grown(known: Known, key: str) -> Known:
    ours = None if known.ours is None else known.ours | {key}
    return replace(known, count=known.count + 1, ours=ours)


def _splice(doc: Document, key: str, line: str, indent: str) -> tuple[str, bool] | None:
    """(text with the item's line put in, it was put at the end); None if there is no place for it."""
    source, found = doc.text, [e for e in doc.entries if e.key == key]
    if found:
        entry = found[-1]
        if line:
            return source[: entry.start] + line + source[entry.end :], False
        stop = source.find("\n", entry.end) + 1 or len(source)
        return source[: entry.edge] + source[stop:], False
    if not doc.entries:
        return None
    stop = source.find("\n", doc.entries[-1].end) + 1 or len(source)
    rest = source[stop:]
    body = source if source.endswith("\n") else source + "\n"
    if comments_of(rest + "\n") == rest + "\n":
        return f"{body}{indent}{line}\n", True
    return f"{source[:stop]}{indent}{line}\n{rest}", False
