"""Reading a log that may still grow: any place in it costs the same, whatever its length."""

import json
import os
import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, Self, overload

from .logs import BLOCK, end_of, index_of

_ENTRY: Final = 8
_LONGEST_SEQUENCE: Final = 4096
# Control Sequence Introducer, Operating System Command and the other strings of ECMA-48, two-character escapes.
_ESCAPES: Final = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-Z\\^-~]|\x9b[0-?]*[ -/]*[@-~]"
)
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_STRAY: Final = re.compile(r"\x1b(?!\[[0-9;]*m)")
_BEGUN: Final = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b\n]*\x1b?|[ -/]*)\Z")
_HARMLESS: Final = {"\n", "\t"}
_SHOWN: Final = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in _HARMLESS},
    0x7F: "␡",
    **dict.fromkeys(
        [*range(0x80, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)], "�"
    ),
}
_COLOURED: Final = {code: mark for code, mark in _SHOWN.items() if code != 0x1B}


class Source(Protocol):
    """Bytes that are read by place: a file here, or what an artifact store holds."""

    def size(self) -> int:
        """Bytes there are by now."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """At most `length` bytes from `offset`."""
        ...

    def close(self) -> None:
        """Give back what is held."""
        ...


class File:
    """A log on this machine's disk. Holds it open from the first look on; `close` gives it back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = -1

    def size(self) -> int:
        """Bytes there are by now; 0 where there is no file yet."""
        return os.fstat(self._handle).st_size if self._open() else 0

    def read(self, offset: int, length: int) -> bytes:
        """At most `length` bytes from `offset`."""
        return os.pread(self._handle, length, offset) if self._open() else b""

    def close(self) -> None:
        """Give the file back."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _open(self) -> bool:
        if self._handle < 0:
            try:
                self._handle = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return False
        return True


@dataclass(frozen=True)
class Piece:
    """Bytes `offset` to `next_offset` of a log of `size` bytes; `line` is the number of its first line, from 1."""

    data: bytes
    offset: int
    next_offset: int
    size: int
    line: int


@dataclass(frozen=True)
class End:
    """What is known of a whole log."""

    bytes: int
    lines: int
    sha256: str
    dropped: int
    failed: bool


class _Entries(Sequence[int]):
    """The index as a sequence of numbers, of which only those that are looked at are read."""

    def __init__(self, source: Source, blocks: int) -> None:
        self._source = source
        self._blocks = min(blocks, source.size() // _ENTRY)

    def __len__(self) -> int:
        return self._blocks

    @overload
    def __getitem__(self, at: int) -> int: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[int]: ...
    def __getitem__(self, at: int | slice) -> int | Sequence[int]:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(self._blocks))]
        if not 0 <= at < self._blocks:
            raise IndexError(at)
        return int.from_bytes(self._source.read(at * _ENTRY, _ENTRY), "little")


class Log:
    """A log by place and by line. Lines count from 1; offsets are bytes from 0."""

    def __init__(self, content: Source, index: Source) -> None:
        self._content = content
        self._index = index

    @classmethod
    def at(cls, path: Path) -> "Log":
        """The log in a file here."""
        return cls(File(path), File(index_of(path)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._content.close()
        self._index.close()

    @property
    def size(self) -> int:
        """Bytes there are by now."""
        return self._content.size()

    def lines(self) -> int:
        """How many lines there are by now, an unfinished one included."""
        size = self.size
        if size == 0:
            return 0
        unfinished = self._content.read(size - 1, 1) != b"\n"
        return self._breaks(size) + unfinished

    def piece(self, offset: int, limit: int) -> Piece:
        """At most `limit` bytes from `offset`; beyond the end there is nothing."""
        size = self.size
        start = min(offset, size)
        data = self._content.read(start, limit)
        return Piece(data, start, start + len(data), max(size, start + len(data)), self._breaks(start) + 1)

    def from_line(self, line: int, limit: int) -> Piece:
        """At most `limit` bytes from the beginning of a line; behind the last one there is nothing."""
        return self.piece(self._start_of(max(1, line), self.size), limit)

    def tail(self, lines: int, limit: int) -> Piece:
        """The last lines, at most `limit` bytes of them: where that is less, from the middle of one."""
        size = self.size
        start = max(0, size - limit)
        data = self._content.read(start, size - start)
        at = len(data) - (data[-1:] == b"\n")
        for _ in range(lines):
            at = data.rfind(b"\n", 0, at)
            if at < 0:
                break
        first = at + 1 if lines else len(data)
        return Piece(data[first:], start + first, start + len(data), size, self._breaks(start + first) + 1)

    def _breaks(self, offset: int) -> int:
        """Line breaks before a byte. Beyond what the index knows, blocks are read."""
        entries = _Entries(self._index, offset // BLOCK)
        known = len(entries)
        count, at = (entries[known - 1] if known else 0), known * BLOCK
        while at < offset:
            data = self._content.read(at, min(BLOCK, offset - at))
            if not data:
                break
            count += data.count(b"\n")
            at += len(data)
        return count

    def _start_of(self, line: int, size: int) -> int:
        """The byte at which a line begins: one behind the line break number `line - 1`."""
        wanted = line - 1
        if wanted == 0:
            return 0
        entries = _Entries(self._index, size // BLOCK)
        block = bisect_left(entries, wanted)
        count = entries[block - 1] if block else 0
        at = block * BLOCK
        while at < size:
            data = self._content.read(at, BLOCK)
            if not data:
                break
            here = data.count(b"\n")
            if count + here >= wanted:
                return at + _nth(data, wanted - count) + 1
            count += here
            at += len(data)
        return size


def _nth(data: bytes, number: int) -> int:
    """Where the line break of this number stands, counted from 1."""
    at = -1
    for _ in range(number):
        at = data.index(b"\n", at + 1)
    return at


def end(path: Path) -> End | None:
    """What is known of a log here once it is whole."""
    try:
        said: dict[str, Any] = json.loads(end_of(path).read_bytes())
    except FileNotFoundError:
        return None
    return End(said["bytes"], said["lines"], said["sha256"], said["dropped"], said["failed"])


def shown(data: bytes, *, colours: bool = False) -> str:
    """A piece of a log as text that no terminal obeys: colours are taken out, what remains of commands is made visible.

    What is no UTF-8 becomes U+FFFD, and so do the marks that turn text around. `colours`: those stay in, for a page
    that shows them by itself.
    """
    text = data.decode("utf-8", "replace").replace("\r\n", "\n")
    if "\x1b" in text or "\x9b" in text:
        text = _ESCAPES.sub(_only_colour if colours else "", text)
        text = _STRAY.sub("\u241b", text) if colours else text
    return text.translate(_COLOURED if colours else _SHOWN)


def _only_colour(found: re.Match[str]) -> str:
    """Select Graphic Rendition (ECMA-48, 8.3.117), and nothing else."""
    return found[0] if _COLOUR.fullmatch(found[0]) else ""


def whole_part(data: bytes, *, more: bool) -> bytes:
    """Without a character or a command to terminals at its end whose rest comes with the next piece.

    `more`: whether something follows or may follow. Never takes everything.
    """
    if not more or not data:
        return data
    begun = _BEGUN.search(data, max(0, len(data) - _LONGEST_SEQUENCE))
    if begun is not None and begun.start() > 0:
        return data[: begun.start()]
    if data[-1:] == b"\r" and len(data) > 1:
        return data[:-1]
    for back in range(1, min(4, len(data))):
        byte = data[-back]
        if byte & 0xC0 != 0x80:
            need = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
            return data[:-back] if need > back else data
    return data
