"""A disk without room: told before anything is committed where that can be known, in plain words where it cannot."""

import contextlib
import errno
import os
from collections.abc import Generator
from pathlib import Path

from builderos.core.problems import Problem


def require_room(folder: Path, size: int) -> None:
    """Raise `storage_full` where the file system of `folder` has less than `size` bytes left."""
    with contextlib.suppress(FileNotFoundError):  # nothing was ever written there
        facts = os.statvfs(folder)
        if facts.f_bavail * facts.f_frsize < size:
            raise full()


@contextlib.contextmanager
def room_on_disk() -> Generator[None]:
    """Errors of the operating system that mean a full disk, as a problem; others pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise full() from error


def full() -> Problem:
    """The disk took no more, and nothing was changed."""
    return Problem(
        "storage_full", "the server's disk has no room left",
        hint="Tell an administrator, who frees disk space; then repeat the call.",
    )  # fmt: skip
