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

from builderos.integrations.embedded_postgres.account import Account

# A parameter of our own in the command line: where the server thinks that its data is.
DATA_PARAMETER: Final = "builderos.data"
_PROC: Final = Path("/proc")
_WHERE: Final = 'for p; do echo "$p $(readlink "/proc/$p/ns/mnt") $(readlink "/proc/$p/cwd")"; done'


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
    except (FileNotFoundError, NotADirectoryError):
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


def end_orphans(data: Path, account: Account, wait_s: float = 5) -> bool:
    """End servers whose data folder was at `data` and has been deleted or moved; return whether all are gone.

    Such a server goes on for up to a minute, and writes its control file by the absolute path: into the data
    folder of its successor, which cannot start any more after that. There is nothing of it to save.
    """
    deadline = time.monotonic() + wait_s
    kill_from = time.monotonic() + wait_s / 2
    while orphans := _orphans(data, account):
        if time.monotonic() > deadline:
            return False
        for pid in orphans:
            _signal(pid, signal.SIGKILL if time.monotonic() > kill_from else signal.SIGQUIT)
        time.sleep(0.01)
    return True


def _orphans(data: Path, account: Account) -> list[int]:
    declared = os.fsencode(f"{DATA_PARAMETER}={data}")
    candidates = [pid for pid, command in _command_lines() if declared in command.split(b"\0")]
    if not candidates:
        return []
    # As the server's user: without special rights not even root may ask where a process of another user is.
    looked = account.run(["/bin/sh", "-c", _WHERE, "sh", *map(str, candidates)])
    here = os.readlink("/proc/self/ns/mnt")
    places = [line.split(" ", 2) for line in looked.stdout.splitlines()]
    # In another container the same path is another folder.
    return [int(pid) for pid, mounts, place in places if mounts == here and place not in {"", str(data)}]


def _leftovers(label: str) -> list[int]:
    title, servers, children = f"postgres: {label}:".encode(), set[int](), list[int]()
    for pid, command in _command_lines():
        if command.startswith(title):
            children.append(pid)
        elif f"cluster_name={label}".encode() in command:
            servers.add(pid)
    return [pid for pid in children if _parent(pid) not in servers]


def _command_lines() -> list[tuple[int, bytes]]:
    """All processes; none where the system does not show them as files."""
    entries = os.listdir(_PROC) if _PROC.is_dir() else []
    return [(int(entry), _command_line(int(entry))) for entry in entries if entry.isdigit()]


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
