"""The log of one attempt of a step: a file that only grows, redacted while it is written.

Beside it lies an index, `<log>.idx`: one number of 8 bytes per block of 64 KiB, how many line breaks stand before the
block's end. From it any line is found by halving and one block read, however long the log is. When the log is whole,
`<log>.end` says how long it is and what its hash is.
"""

import contextlib
import hashlib
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

from builderos.core.problems import Problem
from builderos.trust.secrets.service import Cleaner, Redactor

BLOCK: Final = 64 * 1024
LIMIT: Final = 64 * 1024 * 1024 + 1024  # what a command may print, and what is said where it printed more
_PIECE: Final = 1 << 20
_END: Final = 8192  # what is remembered of the end


def index_of(path: Path) -> Path:
    """The file that tells lines of a log."""
    return path.with_name(path.name + ".idx")


def end_of(path: Path) -> Path:
    """The file that is there once a log is whole."""
    return path.with_name(path.name + ".end")


class Sink:
    """Where an attempt's output goes. One thread at a time writes; each piece is readable when `write` returns.

    Never raises for what the disk refuses: a command must not fail because its log cannot be kept. `failed` tells it,
    and the log's last line says so if that can still be written.

    `again`: the same output is fed from its beginning once more, e.g. after this process was killed; what is in the
    file already is passed over, so that nothing is lost or doubled. `plain`: what comes was redacted before.
    """

    def __init__(
        self, path: Path | str, redactor: Redactor | None = None, *, limit: int = LIMIT, again: bool = False,
        plain: bool = False,
    ) -> None:  # fmt: skip
        self.path = Path(path)
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._cleaner = None if plain else Cleaner(redactor or Redactor(()))
        self._log = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._index = os.open(index_of(self.path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        end_of(self.path).unlink(missing_ok=True)
        self._limit = limit
        self._hash = hashlib.sha256()
        self._size = self._lines = 0
        self._entries = bytearray()
        self._last = self._end = b""
        self._read_back()
        self._pass_over = self._size if again else 0
        self.dropped = 0
        self.failed = False
        self._missed = 0
        self._closed = False

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self._size

    def write(self, data: bytes) -> None:
        """Append output as it comes, cut anywhere."""
        if self.dropped and not self._pass_over:  # nothing more is kept: nothing has to be looked at
            self.dropped += len(data)
        elif not self._closed:
            self._take(bytes(data) if self._cleaner is None else self._cleaner.feed(bytes(data)))

    def missed(self, count: int) -> None:
        """So many bytes were printed that never came here, because whoever brings the output keeps only so much."""
        self._missed = count

    def close(self) -> None:
        """Write what was held back, and say that the log is whole. May be called again."""
        if self._closed:
            return
        self._closed = True
        if self._cleaner is not None:
            self._take(self._cleaner.end())
        if self.failed:
            self._retry(b"\n[the log ends here: the disk did not take more]\n")
        said = {"bytes": self._size, "lines": self.lines, "sha256": self._hash.hexdigest()}
        said |= {"dropped": self.dropped + self._missed, "failed": self.failed}
        with contextlib.suppress(OSError):  # the disk is full: readers take the step's state for the end then
            _replace(end_of(self.path), json.dumps(said).encode())
        os.close(self._log)
        os.close(self._index)

    @property
    def lines(self) -> int:
        """How many lines there are, an unfinished one included."""
        return self._lines + (1 if self._last not in (b"", b"\n") else 0)

    def last_lines(self) -> list[str]:
        """The end of what was written by now, blank lines left out, secrets taken out; the first may have lost its
        beginning. An unfinished line may be missing until `close`.
        """
        return [line for line in self._end.decode("utf-8", "replace").splitlines() if line.strip()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self, clean: bytes) -> None:
        passed = min(self._pass_over, len(clean))
        self._pass_over -= passed
        clean = clean[passed:]
        self._end = (self._end + clean)[-_END:]
        room = max(0, self._limit - self._size)
        if not clean or self.failed:
            self.dropped += len(clean)
            return
        if len(clean) <= room and not self.dropped:
            self._append(clean)
            return
        if not self.dropped and not self._is_cut():
            self._append(clean[:room])
            self._append(_notice(self._limit))
        self.dropped += len(clean) - (room if not self.dropped else 0)

    def _is_cut(self) -> bool:
        """Whether the notice stands there already, from before this process."""
        notice = _notice(self._limit)
        return (
            self._size >= len(notice) and os.pread(self._log, len(notice), self._size - len(notice)) == notice
        )

    def _append(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                written = os.write(self._log, view)
                self._count(bytes(view[:written]))
                view = view[written:]
            self._keep_entries()
        except OSError:
            self.failed = True
            self.dropped += len(view)

    def _retry(self, notice: bytes) -> None:
        with contextlib.suppress(OSError):
            self._count(notice[: os.write(self._log, notice)])
            self._keep_entries()

    def _count(self, data: bytes) -> None:
        self._hash.update(data)
        at = 0
        while at < len(data):
            until = min(len(data), at + BLOCK - self._size % BLOCK)
            self._lines += data.count(b"\n", at, until)
            self._size += until - at
            at = until
            if self._size % BLOCK == 0:
                self._entries += self._lines.to_bytes(8, "little")
        self._last = data[-1:] or self._last

    def _keep_entries(self) -> None:
        if self._entries:
            os.pwrite(self._index, self._entries, self._size // BLOCK * 8 - len(self._entries))
            self._entries.clear()

    def _read_back(self) -> None:
        """What the file holds already: its size, lines and hash; the index is written anew from it."""
        while piece := os.pread(self._log, _PIECE, self._size):
            self._count(piece)
        os.ftruncate(self._index, 0)
        self._keep_entries()


def copied(path: Path, content: Iterator[bytes]) -> None:
    """Lay a whole log, which was redacted when it was written, at a place where there is none, with its index."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    with Sink(draft, limit=sys.maxsize, plain=True) as sink:
        for piece in content:
            sink.write(piece)
    if sink.failed:
        raise Problem("storage_full", "the log does not fit on this machine's disk", hint="Free some space.")
    for of in (index_of, end_of, Path):
        of(draft).replace(of(path))


def _notice(limit: int) -> bytes:
    return f"\n[the log ends here: it has reached its limit of {limit} bytes]\n".encode()


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(content)
    draft.replace(path)
