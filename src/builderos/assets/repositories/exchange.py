"""Put one file in the place of another without waiting for the disk, and without a new file each time."""

import ctypes
import errno
import os
from typing import Final

_AT_FDCWD: Final = -100
_RENAME_NOREPLACE: Final = 1
_RENAME_EXCHANGE: Final = 2
_UNSUPPORTED: Final = (errno.ENOENT, errno.EINVAL, errno.ENOSYS)
_renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # Linux alone has it


def replace(new: str, path: str, spare: str) -> None:
    """Like `os.replace(new, path)`: readers see the old file or the new one, and nothing between.

    Where a rename replaces a file, ext4 writes the new one out first, lest a power loss leave an empty file: a
    millisecond and more of a commit. What the journal can write anew need not wait for that, so the two files swap
    their names. The old one becomes `spare`, for `take`: freeing a file's inode at every commit makes all later files
    nearby expensive where ext4 has no journal, because it looks at every inode that was freed in the last minutes.
    """
    try:
        os.utime(path)  # for an instant it bears the name of `new`, where its age counts
    except FileNotFoundError:
        os.rename(new, path)
        return
    if _rename(new, path, _RENAME_EXCHANGE):
        os.rename(new, spare)
    else:
        os.rename(new, path)


def take(spare: str, path: str) -> int | None:
    """Name a spare file `path` and open it; its content is still the old one. None where there is no spare one.

    Raises `FileExistsError` where there is a file `path`.
    """
    try:
        os.utime(spare)
    except FileNotFoundError:
        return None
    return os.open(path, os.O_WRONLY | os.O_CLOEXEC) if _rename(spare, path, _RENAME_NOREPLACE) else None


def _rename(old: str, new: str, flag: int) -> bool:
    """False where the system or the file system cannot do it, or one of the files is not there."""
    if _renameat2 is None:
        return False
    if _renameat2(_AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), flag) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), new)
