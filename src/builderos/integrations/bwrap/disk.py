"""What a folder takes of the disk."""

import asyncio
import contextlib
import time
from typing import Final

from builderos.core import folders

BLOCK: Final = 512  # bytes, the unit in which the kernel counts
_LEAST_ENTRY: Final = 4096
_SLICE_S, _BETWEEN = 0.005, 64  # how long one room may keep all others waiting, and how often it asks


async def bytes_in(folder: int, enough: int) -> int:
    """Bytes of disk below a folder; every entry counts at least a block, for an empty file fills a disk, too.
    Stops counting soon after `enough`, and lets others have their turn meanwhile: there may be hundreds of thousands of
    entries. Raises `folders.TooDeep`.
    """
    total, until = 0, time.monotonic() + _SLICE_S
    with contextlib.closing(folders.entries(folder)) as found:
        for number, entry in enumerate(found):
            total += max(_LEAST_ENTRY, entry.info.st_blocks * BLOCK)
            if total > enough:
                break
            if number % _BETWEEN == 0 and time.monotonic() > until:
                await asyncio.sleep(0)
                until = time.monotonic() + _SLICE_S
    return total
