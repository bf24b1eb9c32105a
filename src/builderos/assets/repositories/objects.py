"""Git objects in memory: hashed and compressed here, kept by the journal, written as loose files after the
commit point.

libgit2 writes an object by hashing, compressing, creating and renaming a file each time it is asked. Here a
commit is built without touching the disk; the same zlib streams go into the journal row and, once that is
durable, become the loose files.
"""

import errno
import hashlib
import itertools
import os
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

import pygit2
from isal import isal_zlib

from builderos.core.problems import Problem

Oid: TypeAlias = bytes
"""An object id as 20 raw bytes, the form trees hold; `.hex()` and `bytes.fromhex` lead to and from text."""

Kind: TypeAlias = Literal["blob", "tree", "commit", "tag"]

EMPTY_TREE: Final = bytes.fromhex("4b825dc642cb6eb9a060e54bf8d69288fbee4904")

_KINDS: Final[dict[int, Kind]] = {1: "commit", 2: "tree", 3: "blob", 4: "tag"}
_ROW: Final = 24  # journal form: 20 bytes of id, 4 bytes of length, then the stream
_CACHED_AT_MOST: Final = 1 << 18
_PROCESS: Final = os.urandom(6).hex()  # the pid alone comes back, in a container at every start
_serial = itertools.count()
_compress: Final[Callable[[bytes, int], bytes]] = isal_zlib.compress  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


class Cut(NamedTuple):
    """A tree object's bytes and the same cut into its raw entries; see `trees`."""

    data: bytes
    rows: list[bytes]


class Reader(Protocol):
    """What a batch reads from: a `pygit2.Repository` (or its `odb`)."""

    def read(self, oid: pygit2.Oid, /) -> tuple[int, bytes]:
        """Type number and content; raises KeyError where there is no such object."""
        ...


class MissingObject(Problem, KeyError):
    """`unavailable`: a store lacks an object. Where the object is a caller's guess, callers catch the `KeyError`."""

    def __init__(self, oid: Oid) -> None:
        super().__init__(
            "unavailable",
            f"the repository's files lack the object {oid.hex()}",
            hint="Run `builderos doctor`.",
        )


class ObjectCache:
    """Recently read and written objects of many stores, bounded in bytes, safe between threads.

    Keyed by store as well as by id: that one store holds an object must never make it readable through
    another. Trees may be kept cut into entries, so that the next commit need not cut them again.
    """

    def __init__(self, max_bytes: int = 64 << 20) -> None:
        self.max_bytes = max_bytes
        self._held = 0
        self._items: OrderedDict[tuple[str, Oid], tuple[Kind, Cut]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, store: str, oid: Oid) -> tuple[Kind, bytes] | None:
        """The object as this store holds it, or None."""
        found = self._find(store, oid)
        return None if found is None else (found[0], found[1].data)

    def cut(self, store: str, tree: Oid) -> Cut | None:
        """A tree of this store cut into entries, or None; callers must not change the list."""
        found = self._find(store, tree)
        return None if found is None or not found[1].rows else found[1]

    def put(self, store: str, oid: Oid, kind: Kind, data: bytes, rows: list[bytes] | None = None) -> None:
        """Keep one object that this store holds; large ones are not worth their room."""
        if len(data) > _CACHED_AT_MOST:
            return
        key, cut = (store, oid), Cut(data, rows or [])
        with self._lock:
            old = self._items.get(key)
            if old is not None and len(old[1].rows) >= len(cut.rows):
                return
            self._items[key] = (kind, cut)
            self._held += _weight(cut) - (0 if old is None else _weight(old[1]))
            while self._held > self.max_bytes:
                _, (_, oldest) = self._items.popitem(last=False)
                self._held -= _weight(oldest)

    def forget(self, store: str) -> None:
        """Drop everything of one store, e.g. because its files were deleted."""
        with self._lock:
            for key in [key for key in self._items if key[0] == store]:
                self._held -= _weight(self._items.pop(key)[1])

    def _find(self, store: str, oid: Oid) -> tuple[Kind, Cut] | None:
        key = (store, oid)
        with self._lock:
            found = self._items.get(key)
            if found is not None:
                self._items.move_to_end(key)
        return found


def _weight(cut: Cut) -> int:
    """Bytes of memory, roughly: an item costs 500 beside its content, an entry 50 beside its text."""
    copies = 2 if cut.rows else 1  # end to end the entries are the content again
    return 500 + copies * len(cut.data) + 50 * len(cut.rows)


class Batch:
    """New objects in memory over what a store already holds. Not shared between threads."""

    def __init__(self, reader: Reader, *, cache: ObjectCache | None = None, store: str = "") -> None:
        self._reader = reader
        self._cache = cache
        self._store = store
        self._new: dict[Oid, tuple[Kind, bytes]] = {}
        self._cuts: dict[Oid, Cut] = {}

    def __contains__(self, oid: Oid) -> bool:
        """Whether the object is new in this batch."""
        return oid in self._new

    def __iter__(self) -> Iterator[Oid]:
        """Ids of the new objects in the order in which they were put."""
        return iter(self._new)

    def __len__(self) -> int:
        return len(self._new)

    def read(self, oid: Oid) -> tuple[Kind, bytes]:
        """Kind and content of an object, new or stored. Raises `MissingObject` where neither holds it."""
        found = self._new.get(oid)
        if found is not None:
            return found
        if self._cache is not None:
            found = self._cache.get(self._store, oid)
            if found is not None:
                return found
        try:
            number, data = self._reader.read(pygit2.Oid(raw=oid))
        except KeyError as error:
            raise MissingObject(oid) from error
        kind = _KINDS[number]
        if self._cache is not None:
            self._cache.put(self._store, oid, kind, data)
        return kind, data

    def put(self, kind: Kind, data: bytes) -> Oid:
        """Add an object and return its id. Whether the store holds it already is not asked: a second copy is
        harmless.
        """
        oid = hashlib.sha1(b"%s %d\0%s" % (kind.encode(), len(data), data), usedforsecurity=False).digest()
        if oid not in self._new:
            self._new[oid] = (kind, data)
        return oid

    def pack(self, oids: Iterable[Oid] | None = None) -> bytes:
        """The journal form: for each object 20 bytes of id, 4 bytes of length (big endian), its loose zlib
        stream.

        Without `oids` all new objects; with them exactly those, once each, whether new or stored (what
        another store lacks).
        """
        parts: list[bytes] = []
        for oid in self._new if oids is None else dict.fromkeys(oids):
            kind, data = self.read(oid)
            stream = loose_stream(kind, data)
            parts += (oid, len(stream).to_bytes(4, "big"), stream)
        return b"".join(parts)

    @staticmethod
    def unpack(packed: bytes) -> Iterator[tuple[Oid, bytes]]:
        """Ids and loose streams of `pack`'s result, in order. Raises ValueError where it is cut short."""
        at = 0
        while at < len(packed):
            end = at + _ROW + int.from_bytes(packed[at + 20 : at + _ROW], "big")
            if at + _ROW > len(packed) or end > len(packed):
                raise ValueError("the journal's objects are cut short")
            yield packed[at : at + 20], packed[at + _ROW : end]
            at = end

    def publish(self) -> None:
        """Offer the new objects to the cache. Call it only once the store durably holds them."""
        if self._cache is not None:
            for oid, (kind, data) in self._new.items():
                cut = self._cuts.get(oid)
                self._cache.put(self._store, oid, kind, data, None if cut is None else cut.rows)

    def cut(self, tree: Oid) -> Cut | None:
        """A tree cut into entries, if `keep_cut` was given it; callers must not change the list."""
        found = self._cuts.get(tree)
        if found is None and self._cache is not None and tree not in self._new:
            found = self._cache.cut(self._store, tree)
            if found is not None:
                self._cuts[tree] = found
        return found

    def keep_cut(self, tree: Oid, cut: Cut) -> None:
        """Remember a tree cut into entries, so that it is cut once."""
        self._cuts[tree] = cut
        if self._cache is not None and tree not in self._new:
            self._cache.put(self._store, tree, "tree", cut.data, cut.rows)


def loose_stream(kind: Kind, data: bytes) -> bytes:
    """The content of the loose file of an object: header and data as one zlib stream.

    ISA-L's two fastest levels; trees are mostly hashes, which the slower one shrinks little for four times
    the time.
    """
    return _compress(b"%s %d\0%s" % (kind.encode(), len(data), data), 1 if kind == "blob" else 0)


def write_loose(objects_dir: Path | str, oid: Oid, stream: bytes, *, overwrite: bool = False) -> None:
    """Write one loose object: temporary file, then rename, mode 0444, no fsync (the journal row is what is
    durable).

    A file that already lies there with any content is left alone, unless `overwrite` says that it may be torn
    (after a power loss). Safe beside other writers and `git gc`. Raises `Problem("storage_full")`, leaving no
    file behind.
    """
    name = oid.hex()
    folder = f"{objects_dir}/{name[:2]}"
    path = f"{folder}/{name[2:]}"
    if not overwrite:
        try:
            if os.stat(path).st_size > 0:
                return
        except FileNotFoundError:
            pass
    # The prefix is git's own, so `git prune` sweeps what a killed process left.
    draft = f"{folder}/tmp_obj_{_PROCESS}_{os.getpid()}_{next(_serial)}"  # noqa: S108
    try:
        _write_file(folder, draft, stream)
        os.rename(draft, path)
    except OSError as error:
        _remove(draft)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Problem(
                "storage_full",
                "the disk took no more",
                hint="Free disk space or ask an administrator; then repeat the call.",
            ) from error
        raise


def _write_file(folder: str, draft: str, data: bytes) -> None:
    for last in (False, False, True):
        try:
            fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
            break
        except FileNotFoundError:  # no fan-out folder yet, or `git prune` has just removed the empty one
            if last:
                raise
            os.makedirs(folder, exist_ok=True)
    else:
        raise AssertionError
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)


def tag_name(stream: bytes) -> str | None:
    """The name in a loose tag object; None for any other object, of which only the first bytes are looked at."""
    start = zlib.decompressobj().decompress(stream, 4)
    if start != b"tag ":
        return None
    for line in zlib.decompress(stream).partition(b"\0")[2].split(b"\n"):
        if line.startswith(b"tag "):
            return line[4:].decode()
    return None


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
