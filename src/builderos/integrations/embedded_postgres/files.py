"""Files that must be whole or absent, and the lock under which a state folder is changed."""

import contextlib
import fcntl
import os
import time
from collections.abc import Generator
from pathlib import Path

from builderos.core.problems import Problem


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 whole or not at all, and durably."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(path: Path, deadline: float, others: str) -> Generator[int]:
    """Hold the lock of a folder or of a lock file, free again when its holder dies; yields the descriptor.

    Raises Problem `unavailable`, saying what `others` do, when it is still taken at `deadline`
    (`time.monotonic()` seconds).
    """
    how = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, how | os.O_CLOEXEC, 0o600)
    try:
        while not try_lock(descriptor):
            if time.monotonic() > deadline:
                raise Problem(
                    "unavailable", f"Another process {others}.", hint="Wait for it, then try again."
                )
            time.sleep(0.01)
        yield descriptor
    finally:
        os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    """Lock the open file for whoever has its descriptor, until the last one is closed; False if taken."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
