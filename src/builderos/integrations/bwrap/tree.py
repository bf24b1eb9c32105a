"""Processes and what they hold, read from /proc."""

import contextlib
import os
import re
import signal
from typing import Final

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_MAX: Final = 20_000
_STATE, _SESSION, _TTY = 0, 3, 4
_TIMES: Final = (11, 12, 13, 14)
_OWN_NAME: Final = re.compile(r"builderos-([0-9]+)-([0-9]+)")


def descendants(pid: int) -> list[int]:
    """All processes below `pid`, parents first. A process that comes or goes meanwhile may be missed or listed."""
    found: list[int] = []
    waiting = [pid]
    while waiting and len(found) < _MAX:
        children = _children(waiting.pop())
        found += children
        waiting += children
    return found


def resident(pids: list[int]) -> int:
    """Bytes of memory that these processes hold for themselves; what they share is counted once."""
    own, shared = 0, 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/statm", "rb") as file:
            fields = file.read().split()
            own += (int(fields[1]) - int(fields[2])) * _PAGE
            shared = max(shared, int(fields[2]) * _PAGE)
    return own + shared


def processor_s(pids: list[int]) -> float:
    """Seconds of processor that these processes have used, with what ended below them."""
    return sum(sum(int(found[at]) for at in _TIMES) for found in map(_stat, pids) if found) / _TICKS


def works_at_terminals(pids: list[int]) -> bool:
    """Whether at a terminal of these processes something runs besides the shell that it was opened with, before or
    behind its prompt, or that shell itself computes. What was stopped there (Ctrl-Z) does not run.
    """
    running = [
        (pid, found) for pid in pids if (found := _stat(pid)) and found[_STATE] not in (b"T", b"Z", b"X")
    ]
    shells = {
        int(found[_SESSION]) for pid, found in running if int(found[_SESSION]) == pid and found[_TTY] != b"0"
    }
    return any(
        int(found[_SESSION]) in shells and (pid not in shells or found[_STATE] == b"R")
        for pid, found in running
    )


def tell(pids: list[int], number: signal.Signals) -> None:
    """Signal all of them, as far as they are still there."""
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, number)


def end_all_below(pid: int) -> None:
    """Kill every descendant, however fast they multiply: stop them all first, then kill until none is left."""
    known: set[int] = set()
    while fresh := [found for found in descendants(pid) if found not in known]:
        tell(fresh, signal.SIGSTOP)
        known.update(fresh)
    tell(list(known), signal.SIGKILL)


def started_at(pid: int) -> str:
    """When it began, in ticks since boot; with its number it names a process for good. Empty when it is gone."""
    fields = _stat(pid)
    return "" if not fields or fields[_STATE] in (b"Z", b"X") else fields[19].decode()


def own_name() -> str:
    """A name that no other process has or had, for what must not outlive this one."""
    return f"builderos-{os.getpid()}-{started_at(os.getpid())}"


def is_orphaned(name: str) -> bool:
    """Whether `name` was given by `own_name` to a process that is gone."""
    match = _OWN_NAME.fullmatch(name)
    return match is not None and started_at(int(match[1])) != match[2]


def _stat(pid: int) -> list[bytes]:
    """The fields of `/proc/<pid>/stat` behind its name, proc(5); none where it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return []


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
    except OSError:  # gone meanwhile; its children are somebody else's now and found there
        return found
    return found
