"""Reading a folder that a stranger writes at the same time: nothing outside of it is ever opened.

The kernel resolves each path beneath an open folder and refuses symbolic links (openat2); checking a path first and
opening it afterwards loses the race.
"""

import contextlib
import ctypes
import errno
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Self

from builderos.core.problems import Problem

_OPENAT2: Final = 437  # on every architecture
_BENEATH, _NO_SYMLINKS, _NO_MAGIC, _NO_XDEV = 0x08, 0x04, 0x02, 0x01
_HOW: Final = _BENEATH | _NO_SYMLINKS | _NO_MAGIC | _NO_XDEV
_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FRESH: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SKIPPED: Final = ".git"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as it was found; `target` of a symbolic link, which is never followed."""

    path: str
    size: int
    executable: bool
    target: str | None = None


class Beneath:
    """A folder, held open. Paths are relative to it."""

    def __init__(self, folder: Path) -> None:
        self._root = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._root)

    def read(self, path: str, limit: int) -> bytes:
        """The content of an ordinary file, at most `limit` bytes.

        Raises `OSError`: a symbolic link on the way (ELOOP), a way out (EXDEV), no ordinary file (EINVAL), too large
        (EFBIG).
        """
        fd = self._open(path, _READ)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(errno.EINVAL, "not an ordinary file", path)
            with os.fdopen(fd, "rb", closefd=False) as file:
                data = file.read(limit + 1)
        finally:
            os.close(fd)
        if len(data) > limit:
            raise OSError(errno.EFBIG, "too large", path)
        return data

    def open(self, path: str) -> BinaryIO:
        """An ordinary file, to be read piece by piece. Raises `OSError` as `read` does."""
        fd = self._open(path, _READ)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "not an ordinary file", path)
        return os.fdopen(fd, "rb")

    def written(self, path: str) -> float | None:
        """When an ordinary file was written last, in seconds since 1970; None where there is none."""
        try:
            fd = self._open(path, _READ)
        except (OSError, ValueError):
            return None
        try:
            found = os.fstat(fd)
            return found.st_mtime if stat.S_ISREG(found.st_mode) else None
        finally:
            os.close(fd)

    def write(self, path: str, data: bytes, *, executable: bool = False) -> None:
        """Put an ordinary file there instead of what stood there; folders above it are made. Raises `OSError`: a link
        on the way (ELOOP), something on the way that is no folder (ENOTDIR), a folder at its place (EISDIR).
        """
        parent, name = self._parent(path, make=True)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=parent)
            fd = os.open(name, _FRESH, 0o755 if executable else 0o644, dir_fd=parent)
            with os.fdopen(fd, "wb") as file:
                file.write(data)
        finally:
            os.close(parent)

    def remove(self, path: str) -> None:
        """Take an ordinary file or a link away; what is not there is no fault. Raises `OSError` as `write` does."""
        try:
            parent, name = self._parent(path, make=False)
        except FileNotFoundError:
            return
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=parent)
        finally:
            os.close(parent)

    def _parent(self, path: str, *, make: bool) -> tuple[int, str]:
        folder, _, name = path.rpartition("/")
        at = ""
        for part in folder.split("/") if folder and make else ():
            above = self._open(at or ".", _FOLDER)
            try:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=above)
            finally:
                os.close(above)
            at = f"{at}/{part}" if at else part
        return self._open(folder or ".", _FOLDER), name

    def walk(self, limit: int = 100_000) -> Iterator[Entry]:
        """Ordinary files and symbolic links in a fixed order, without any `.git`; devices, sockets and pipes are left
        out, and what vanishes meanwhile. Raises `payload_too_large` past `limit` entries and for paths that are too
        long."""
        waiting = [""]
        seen = 0
        while waiting:
            folder = waiting.pop()
            for name, info in self._list(folder):
                seen += 1
                if seen > limit:
                    raise _too_much(f"more than {limit} files")
                path = f"{folder}/{name}" if folder else name
                if stat.S_ISDIR(info.st_mode):
                    waiting.append(path)
                elif (entry := self._entry(path, info)) is not None:
                    yield entry

    def _entry(self, path: str, info: os.stat_result) -> Entry | None:
        if stat.S_ISREG(info.st_mode):
            return Entry(path, info.st_size, bool(info.st_mode & 0o100))
        if stat.S_ISLNK(info.st_mode) and (target := self._target(path)) is not None:
            return Entry(path, len(target), executable=False, target=target)
        return None

    def _list(self, folder: str) -> list[tuple[str, os.stat_result]]:
        try:
            fd = self._open(folder or ".", _READ | os.O_DIRECTORY)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:  # nothing of it could be read: that must not pass for empty
                raise _too_much("folders nested so deep that their paths are too long") from None
            return []  # it was swapped for something else since it was listed
        try:
            names = sorted(name for name in os.listdir(fd) if name != _SKIPPED)
            return [(name, info) for name in names if (info := _stat(name, fd)) is not None]
        finally:
            os.close(fd)

    def _target(self, path: str) -> str | None:
        parent, _, name = path.rpartition("/")
        try:
            fd = self._open(parent or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return os.readlink(name, dir_fd=fd)
        except OSError:
            return None
        finally:
            os.close(fd)

    def _open(self, path: str, flags: int) -> int:
        how = struct.pack("QQQ", flags, 0, _HOW)
        libc = ctypes.CDLL(None, use_errno=True)
        fd = int(libc.syscall(_OPENAT2, self._root, os.fsencode(path), how, len(how)))
        if fd < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), path)
        return fd


def _too_much(what: str) -> Problem:
    return Problem("payload_too_large", f"the folder holds {what}", hint="Remove what need not be kept.")


def _stat(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return None
