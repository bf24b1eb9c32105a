"""Limits of a whole process tree that the kernel itself enforces: cgroup v2 where a part of it is ours, else v1.

Whether they are ours is found by writing, never by asking for a version: containers show hierarchies that they lend
to nobody.
"""

import contextlib
import errno
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from builderos.execution.compute.schema import Limits

from .tree import is_orphaned, tell

_PERIOD_US: Final = 100_000
_V1: Final = ("memory", "pids", "cpu", "cpuacct")
_UNESCAPED: Final = {"\\040": " ", "\\011": "\t", "\\134": "\\"}


class Group(Protocol):
    """The limits of one tree."""

    def limit(self, limits: Limits) -> None:
        """Set them; may be done again. Raises `OSError`."""
        ...

    def put(self, pid: int) -> None:
        """Place a process, and all that it will start, under the limits. Raises `OSError`."""
        ...

    def starved(self) -> bool:
        """Whether its processes wanted more memory than is theirs, and the kernel killed one or found none to."""
        ...

    def peak(self) -> int:
        """The most memory that it held at once, in bytes; 0 where the kernel does not say."""
        ...

    def cpu_s(self) -> float | None:
        """Seconds of processor time since `limit`; None where the kernel does not say."""
        ...

    def remove(self) -> bool:
        """Take it away; False where processes are still in it."""
        ...


@dataclass(frozen=True, slots=True)
class V2Group:
    """One folder with all controllers."""

    folder: Path

    def limit(self, limits: Limits) -> None:
        """See `Group`."""
        _write(self.folder / "memory.max", limits.memory)
        _write(self.folder / "pids.max", limits.pids)
        for name, value in (("memory.swap.max", 0), ("memory.oom.group", 1)):
            with contextlib.suppress(FileNotFoundError):  # no swap on this machine; a kernel before 4.19
                _write(self.folder / name, value)
        with contextlib.suppress(FileNotFoundError):  # the controller is not ours
            _write(self.folder / "cpu.max", f"{int(limits.cpu * _PERIOD_US)} {_PERIOD_US}")

    def put(self, pid: int) -> None:
        """See `Group`."""
        _write(self.folder / "cgroup.procs", pid)

    def starved(self) -> bool:
        """See `Group`."""
        events = self.folder / "memory.events"
        return _count(events, "oom") > 0 or _count(events, "oom_kill") > 0

    def peak(self) -> int:
        """See `Group`."""
        return _number(self.folder / "memory.peak")

    def cpu_s(self) -> float | None:
        """See `Group`."""
        return _count(self.folder / "cpu.stat", "usage_usec") / 1e6

    def remove(self) -> bool:
        """See `Group`."""
        return _rmdir(self.folder)


@dataclass(frozen=True, slots=True)
class V1Group:
    """A folder per controller."""

    folders: Mapping[str, Path]

    def limit(self, limits: Limits) -> None:
        """See `Group`."""
        memory = self.folders["memory"]
        _write(memory / "memory.limit_in_bytes", limits.memory)
        with contextlib.suppress(FileNotFoundError, PermissionError):  # swap is not counted on this machine
            _write(memory / "memory.memsw.limit_in_bytes", limits.memory)
        _write(memory / "memory.max_usage_in_bytes", 0)
        if "cpuacct" in self.folders:
            _write(self.folders["cpuacct"] / "cpuacct.usage", 0)
        if "pids" in self.folders:
            _write(self.folders["pids"] / "pids.max", limits.pids)
        if "cpu" in self.folders:
            _write(self.folders["cpu"] / "cpu.cfs_period_us", _PERIOD_US)
            self._share(self.folders["cpu"] / "cpu.cfs_quota_us", int(limits.cpu * _PERIOD_US))

    @staticmethod
    def _share(file: Path, quota_us: int) -> None:
        try:
            _write(file, quota_us)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            _write(file, -1)  # a group above has less, which v1 refuses to exceed: then that is the limit

    def put(self, pid: int) -> None:
        """See `Group`."""
        for folder in set(self.folders.values()):
            _write(folder / "cgroup.procs", pid)

    def starved(self) -> bool:
        """See `Group`."""
        control = self.folders["memory"] / "memory.oom_control"
        return _count(control, "oom_kill") > 0 or _count(control, "under_oom") > 0

    def peak(self) -> int:
        """See `Group`."""
        return _number(self.folders["memory"] / "memory.max_usage_in_bytes")

    def cpu_s(self) -> float | None:
        """See `Group`."""
        if "cpuacct" not in self.folders:
            return None
        return _number(self.folders["cpuacct"] / "cpuacct.usage") / 1e9

    def remove(self) -> bool:
        """See `Group`."""
        gone = [_rmdir(folder) for folder in self.folders.values()]  # all are tried
        return all(gone)


class Cgroups(Protocol):
    """Where groups are made."""

    @property
    def enforced(self) -> tuple[str, ...]:
        """Which limits the kernel enforces."""
        ...

    def make(self, name: str) -> Group:
        """A new group, still without limits. Raises `OSError`."""
        ...

    def close(self) -> None:
        """Take everything away that is empty."""
        ...


class V2:
    """A folder of ours in the unified hierarchy."""

    def __init__(self, folder: Path, controllers: frozenset[str]) -> None:
        self._folder = folder
        self.enforced = tuple(sorted(controllers & {"memory", "pids", "cpu"}))

    def make(self, name: str) -> V2Group:
        """See `Cgroups`."""
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        return V2Group(folder)

    def close(self) -> None:
        """See `Cgroups`."""
        _rmdir(self._folder)


class V1:
    """A folder of ours in the hierarchy of each controller."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = folders
        self.enforced = tuple(sorted(set(folders) - {"cpuacct"}))

    def make(self, name: str) -> V1Group:
        """See `Cgroups`."""
        made = {kind: folder / name for kind, folder in self._folders.items()}
        for folder in made.values():
            folder.mkdir(exist_ok=True)
        return V1Group(made)

    def close(self) -> None:
        """See `Cgroups`."""
        for folder in self._folders.values():
            _rmdir(folder)


def found(name: str, proc: Path = Path("/proc/self")) -> Cgroups | None:
    """The groups that may be made here under a folder `name`, or None: then limits are watched, not enforced."""
    mounts = _hierarchies((proc / "mountinfo").read_text())
    places = _own_places((proc / "cgroup").read_text())
    return _v2(name, mounts, places) or _v1(name, mounts, places)


def _v2(name: str, mounts: Mapping[str, Path], places: Mapping[str, str]) -> V2 | None:
    if "" not in mounts or "" not in places:
        return None
    own = mounts[""] / places[""].lstrip("/")
    for parent in (own, own.parent):
        if not parent.is_relative_to(mounts[""]):
            continue
        with contextlib.suppress(OSError):  # not ours, or processes stand in it
            _lend(parent)
            _sweep(parent)
            folder = parent / name
            folder.mkdir(exist_ok=True)
            controllers = frozenset((folder / "cgroup.controllers").read_text().split())
            if {"memory", "pids"} <= controllers:
                _write(folder / "cgroup.subtree_control", " ".join(f"+{c}" for c in controllers & {*_V1}))
                return V2(folder, controllers)
            _rmdir(folder)
    return None


def _sweep(parent: Path) -> None:
    """Take away what keepers left that were killed, and end what may still run in it."""
    left = [folder for folder in parent.glob("builderos-*") if is_orphaned(folder.name)]
    for group in [part for folder in left for part in (*folder.glob("*/"), folder)]:
        with contextlib.suppress(OSError):
            tell([int(pid) for pid in (group / "cgroup.procs").read_text().split()], signal.SIGKILL)
        _rmdir(group)


def _lend(parent: Path) -> None:
    """Have the children of `parent` limited, as far as it may decide that."""
    with contextlib.suppress(OSError):
        _write(parent / "cgroup.subtree_control", "+memory +pids +cpu")


def _v1(name: str, mounts: Mapping[str, Path], places: Mapping[str, str]) -> V1 | None:
    folders: dict[str, Path] = {}
    for kind in _V1:
        if kind not in mounts or kind not in places:
            continue
        with contextlib.suppress(OSError):
            folder = mounts[kind] / places[kind].lstrip("/") / name
            _sweep(folder.parent)
            folder.mkdir(exist_ok=True)
            if os.access(folder / "cgroup.procs", os.W_OK):
                folders[kind] = folder
    return V1(folders) if "memory" in folders else None


def _hierarchies(mountinfo: str) -> dict[str, Path]:
    """Controller → where it is mounted; "" is the unified hierarchy."""
    places: dict[str, Path] = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        where = Path(_plain(before.split()[4]))
        if kind == "cgroup2":
            places[""] = where
        elif kind == "cgroup":
            places |= dict.fromkeys(options.split(","), where)
    return places


def _own_places(cgroup: str) -> dict[str, str]:
    places: dict[str, str] = {}
    for line in cgroup.splitlines():
        _, kinds, path = line.split(":", 2)
        places |= dict.fromkeys(kinds.split(","), path)
    return places


def _plain(text: str) -> str:
    for code, char in _UNESCAPED.items():
        text = text.replace(code, char)
    return text


def _write(file: Path, value: object) -> None:
    fd = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, str(value).encode())
    finally:
        os.close(fd)


def _number(file: Path) -> int:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return 0


def _count(file: Path, key: str) -> int:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.split()[0] == key), 0)


def _rmdir(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
