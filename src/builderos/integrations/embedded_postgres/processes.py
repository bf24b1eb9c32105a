"""Which processes belong to a data folder: told by a label, not by a process id that may be stale or reused.

The server runs with `cluster_name` set to the label, which the system shows in the command line of each of
its processes, readable for everyone (unlike their working directories) and empty for a zombie. PostgreSQL
itself only asks whether a process with the id in its lock file exists. Where nobody collects dead processes
quickly, as in a container without an init, or where the id was given to something else after a restart, that
keeps a dead server "running".
"""

import os
import signal
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True)
class PidFile:
    """The server's lock file `postmaster.pid` (line order: PostgreSQL, `miscadmin.h`, LOCK_FILE_LINE_*)."""

    pid: int
    started_at: datetime
    socket_dir: Path | None
    ready: bool


def read_pid_file(data: Path) -> PidFile | None:
    """The lock file of the data folder; None where there is none or it is only half written."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return None
    if len(lines) < 3 or not lines[0].strip().isdigit() or not lines[2].strip().isdigit():
        return None
    socket_dir = Path(lines[4]) if len(lines) > 4 and lines[4] else None
    ready = len(lines) > 7 and lines[7].strip() == "ready"
    return PidFile(int(lines[0]), datetime.fromtimestamp(int(lines[2]), UTC), socket_dir, ready)


def running_server(data: Path, label: str) -> PidFile | None:
    """The lock file of the data folder, if the server it names lives."""
    found = read_pid_file(data)
    return found if found is not None and is_running(found.pid, label) else None


def is_running(pid: int, label: str) -> bool:
    """Whether process `pid` lives and is a server with this label, or one without any, started by hand."""
    if _PROC.joinpath("self").exists():
        command = _command_line(pid)
        by_hand = command.split(b"\0")[0].endswith(b"/postgres") and b"cluster_name=builderos-" not in command
        return label.encode() in command or by_hand
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def end_server(pid: int, label: str, wait_s: float) -> bool:
    """Ask the server to disconnect all and shut down; return whether it is gone after `wait_s` seconds."""
    deadline = time.monotonic() + wait_s
    _signal(pid, signal.SIGINT)
    while is_running(pid, label):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def end_leftovers(label: str, wait_s: float = 5) -> bool:
    """End the children of a killed server, which keep its shared memory and with it a new server out.

    Most leave by themselves at once; one that computes would go on until it is done, for nobody. Return
    whether all are gone.
    """
    deadline = time.monotonic() + wait_s
    kill_from = time.monotonic() + wait_s / 2
    while leftovers := _leftovers(label):
        if time.monotonic() > deadline:
            return False
        for pid in leftovers:
            _signal(pid, signal.SIGKILL if time.monotonic() > kill_from else signal.SIGQUIT)
        time.sleep(0.01)
    return True


def _leftovers(label: str) -> list[int]:
    if not _PROC.joinpath("self").exists():
        return []
    title, servers, children = f"postgres: {label}:".encode(), set[int](), list[int]()
    for entry in os.listdir(_PROC):
        command = _command_line(int(entry)) if entry.isdigit() else b""
        if command.startswith(title):
            children.append(int(entry))
        elif f"cluster_name={label}".encode() in command:
            servers.add(int(entry))
    return [pid for pid in children if _parent(pid) not in servers]


def _command_line(pid: int) -> bytes:
    try:
        return _PROC.joinpath(str(pid), "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""


def _parent(pid: int) -> int | None:
    try:
        stat = _PROC.joinpath(str(pid), "stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in brackets may contain anything; state and parent follow it.
    return int(stat.rpartition(b")")[2].split()[1])


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it was faster
