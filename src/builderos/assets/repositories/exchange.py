"""Put one file in the place of another without waiting for the disk."""

import ctypes
import os
from typing import Final

_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2
_renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # Linux alone has it


def replace(new: str, path: str) -> None:
    """Like `os.replace(new, path)`: readers see the old file or the new one, and nothing between.

    Where a rename replaces a file, ext4 writes the new one out first, lest a power loss leave an empty file: a
    millisecond and more of a commit. What the journal can write anew need not wait for that, so the two files swap
    their names and the old one is deleted.
    """
    here, there = os.fsencode(new), os.fsencode(path)
    if _renameat2 is not None and _renameat2(_AT_FDCWD, here, _AT_FDCWD, there, _RENAME_EXCHANGE) == 0:
        os.unlink(new)
    else:  # there is no file to replace yet, or the file system cannot swap
        os.rename(new, path)
