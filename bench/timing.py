"""Interleaved rounds: cases that are compared take turns, so that a noisy machine slows them alike."""

import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

Case = Callable[[int], object]
_BLOCK = 8192
_BLOCKS = 256


def timed(case: Case, number: int) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    case(number)
    return (time.perf_counter() - start) * 1000


def interleave(
    rounds: int, cases: Mapping[str, Case], *, first: int = 0, calls: int = 1
) -> dict[str, list[float]]:
    """Milliseconds of every call of every case; the order turns, and one round before goes uncounted.

    `calls` in a row make up a case's turn, for all cases alike: with one, a case is always measured with the caches as
    its neighbour left them.
    """
    names = list(cases)
    took: dict[str, list[float]] = {name: [] for name in names}
    for number in range(first, first + rounds + 1):
        at = number % len(names)
        for name in names[at:] + names[:at]:
            ms = [timed(cases[name], number * calls + call) for call in range(calls)]
            if number > first:
                took[name] += ms
    return took


def medians(took: Mapping[str, list[float]]) -> dict[str, float]:
    """The median of each case."""
    return {name: statistics.median(values) for name, values in took.items()}


def fdatasync_case(folder: Path) -> Case:
    """What the write-ahead log asks of the disk at each commit: one block of an allocated file, synced."""
    fd = os.open(folder / "fdatasync.probe", os.O_RDWR | os.O_CREAT, 0o600)
    for block in range(_BLOCKS):
        os.pwrite(fd, os.urandom(_BLOCK), block * _BLOCK)
    os.fsync(fd)

    def sync(number: int) -> None:
        os.pwrite(fd, os.urandom(_BLOCK), number % _BLOCKS * _BLOCK)
        os.fdatasync(fd)

    return sync
