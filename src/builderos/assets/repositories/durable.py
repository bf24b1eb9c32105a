"""What is on disk for certain, and what a power loss may have taken.

Objects and refs are written without fsync: the journal row is what is durable. A checkpoint flushes the whole file
system at once and leaves a mark; whatever was written before the mark is safe.
"""

import ctypes
import fcntl
import json
import os
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

_MARK: Final = ".synced.json"
_LOCK: Final = ".maintenance.lock"
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_F_FULLFSYNC: Final = 51  # macOS: fsync alone stops at the drive's own cache


@dataclass(frozen=True)
class Mark:
    """The last flush: in which boot of the machine, and when it began (seconds since the epoch)."""

    boot_id: str
    synced_at: float


def boot_id() -> str:
    """Another one after every start of the machine; where the system tells none, another one for every process."""
    try:
        return _BOOT_ID.read_text().strip()
    except FileNotFoundError:
        return f"unknown-{os.getpid()}-{time.monotonic_ns()}"


def read_mark(root: Path) -> Mark:
    """The last flush of the file system with the repositories; an empty one when there was none."""
    try:
        return Mark(**json.loads((root / _MARK).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return Mark("", 0.0)


def flush(root: Path) -> Mark:
    """Write everything below `root` to disk and mark it. Raises `OSError` where the disk reports that it could not."""
    began = time.time()
    root.mkdir(parents=True, exist_ok=True)
    sync_filesystem(root)
    mark = Mark(boot_id(), began)
    draft = root / f"{_MARK}.{os.getpid()}"
    draft.write_text(json.dumps(asdict(mark)))
    draft.rename(root / _MARK)
    return mark


def sync_filesystem(folder: Path) -> None:
    """Return when the file system of `folder` has everything on disk that was written before the call.

    Linux: syncfs(2), which since 5.8 also reports writes that failed. Elsewhere sync(2) and, on macOS, a flush of the
    drive's cache. Raises `OSError`.
    """
    fd = os.open(folder, os.O_RDONLY)
    try:
        if sys.platform == "linux":
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.syncfs(fd) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number), str(folder))
            return
        os.sync()
        if sys.platform == "darwin":
            fcntl.fcntl(fd, _F_FULLFSYNC)
    finally:
        os.close(fd)


@contextmanager
def leader(root: Path) -> Generator[bool]:
    """Whether this process may do maintenance: one per machine at a time. The lock dies with its holder."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / _LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
