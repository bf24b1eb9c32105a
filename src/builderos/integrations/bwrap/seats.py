"""Processes that wait, already under their limits, to become a command.

Moving a process into a cgroup makes the kernel wait for all processors, 5 to 20 ms; new namespaces cost some, and so
does forking. All of it is done ahead: a start then is one message and one exec.
"""

import array
import contextlib
import json
import os
import resource
import signal
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from . import kernel
from .cgroups import Cgroups, Group

_HEAD: Final = struct.Struct(">I")
_MAX_FDS: Final = 64
_READY, _APART = b"r", b"a"
_HOSTNAME: Final = "sandbox"
_NOT_STARTED: Final = 126
_EXPENDABLE: Final = "500"


@dataclass(frozen=True, slots=True)
class Orders:
    """What a seat shall become. `fds`: number there → descriptor here; `account` None keeps the server's own."""

    argv: Sequence[str]
    env: Mapping[str, str]
    fds: Mapping[int, int]
    account: int | None
    rlimits: Mapping[int, int]


@dataclass(slots=True)
class Seat:
    """A waiting process of ours; `pid` is the command's from `go` on. `apart`: its network, messages and host name are
    its own already."""

    pid: int
    pidfd: int
    sock: socket.socket
    group: Group | None
    ready: bool = False
    apart: bool = False
    waiting: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])

    def go(self, orders: Orders) -> None:
        """Become the command. Raises `OSError` where the seat died meanwhile."""
        words: dict[str, Any] = {
            "argv": list(orders.argv), "env": dict(orders.env), "account": orders.account,
            "rlimits": {str(kind): value for kind, value in orders.rlimits.items()}, "fds": list(orders.fds),
        }  # fmt: skip
        body = json.dumps(words).encode()
        rights = array.array("i", orders.fds.values())
        self.sock.sendmsg([_HEAD.pack(len(body))], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        self.sock.setblocking(True)
        self.sock.sendall(body)
        self.sock.close()

    def hear(self) -> None:
        """It said that it is ready, or died; either way whoever waits for it goes on."""
        with contextlib.suppress(OSError):
            self.apart = self.sock.recv(1) == _APART
        self.ready = True
        calls, self.waiting = self.waiting, []
        for call in calls:
            call()

    def dismiss(self) -> None:
        """End it unused, or whatever it has become."""
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)


class Seats:
    """Makes seats, a few ahead."""

    def __init__(self, cgroups: Cgroups | None, ahead: int, *, apart: bool) -> None:
        self._cgroups = cgroups
        self._apart = apart  # whether to give them namespaces ahead: only root can
        self._ahead = ahead
        self._parked: list[Seat] = []
        self._number = 0
        self._closed = False

    def take(self, *, apart: bool) -> Seat:
        """A seat, ready or about to be; `apart` False: one that stands on the machine itself. Raises `OSError`."""
        if self._apart and not apart:
            return self._make(apart=False)
        for seat in self._parked:
            if seat.ready:
                self._parked.remove(seat)
                return seat
        return self._parked.pop() if self._parked else self._make(apart=self._apart)

    def refill(self) -> list[Seat]:
        """Make what is missing; the new ones announce themselves on their `sock`."""
        fresh = (
            [self._make(apart=self._apart) for _ in range(self._ahead - len(self._parked))]
            if not self._closed
            else []
        )
        self._parked += fresh
        return fresh

    def close(self) -> list[Seat]:
        """Dismiss all that wait, and return them to be reaped."""
        self._closed = True
        parked, self._parked = self._parked, []
        for seat in parked:
            seat.dismiss()
        return parked

    def _make(self, *, apart: bool) -> Seat:
        self._number += 1
        group = self._cgroups.make(f"r{self._number}") if self._cgroups else None
        here, there = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            _wait_in(there, group, apart=apart)
        there.close()
        here.setblocking(False)
        return Seat(pid, os.pidfd_open(pid), here, group)


def _wait_in(sock: socket.socket, group: Group | None, *, apart: bool) -> NoReturn:
    """The seat's side: into the group, wait for orders, become the command. Leaves only by exec or exit."""
    try:
        fd = _alone_with(sock)
        _go_first()
        if group is not None:
            group.put(os.getpid())
        sock.send(_APART if apart and _stood_apart() else _READY)
        orders, fds = _orders(sock)
        _become(orders, fds, fd)
    except BaseException:  # noqa: BLE001  a copy of the keeper must never run on as the keeper
        os._exit(_NOT_STARTED)
    os._exit(_NOT_STARTED)


def _stood_apart() -> bool:
    try:
        kernel.stand_apart(_HOSTNAME)
    except OSError:  # then bubblewrap does it, at the start
        return False
    return True


def _alone_with(sock: socket.socket) -> int:
    """Hold nothing of the keeper's but this socket: its pipes must end when it closes them."""
    for number in (
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGCHLD,
        signal.SIGPIPE,
        signal.SIGXFSZ,
        signal.SIGALRM,
    ):
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    fd = sock.fileno()
    os.closerange(3, fd)
    os.closerange(fd + 1, 1 << 16)
    os.setsid()
    return fd


def _go_first() -> None:
    """Where memory runs out, commands die before the server. Of root's hand they cannot take this back."""
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write(_EXPENDABLE)


def _orders(sock: socket.socket) -> tuple[dict[str, Any], list[int]]:
    head, rights, _, _ = sock.recvmsg(_HEAD.size, socket.CMSG_SPACE(_MAX_FDS * 4))
    if len(head) < _HEAD.size:
        os._exit(0)  # not needed any more, or the keeper is gone
    fds = array.array("i")
    for _, _, data in rights:
        fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    body = bytearray()
    while len(body) < _HEAD.unpack(head)[0]:
        if not (data := sock.recv(1 << 20)):
            os._exit(0)
        body += data
    return json.loads(body), list(fds)


def _become(orders: dict[str, Any], fds: list[int], own: int) -> None:
    numbers: list[int] = orders["fds"]
    base = max([own, *fds, *numbers]) + 1
    high = [os.dup2(fd, base + at) for at, fd in enumerate(fds)]
    os.closerange(3, base)
    for number, fd in zip(numbers, high, strict=True):
        os.dup2(fd, number, inheritable=True)
    os.closerange(max(2, *numbers) + 1, base + len(high))
    for kind, value in orders["rlimits"].items():
        hard = resource.getrlimit(int(kind))[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(int(kind), (bound, bound))
    if orders["account"] is not None:
        os.setgroups([])
        os.setgid(orders["account"])
        os.setuid(orders["account"])
    kernel.die_with_parent()
    os.execve(orders["argv"][0], orders["argv"], orders["env"])  # noqa: S606  no shell is the point
