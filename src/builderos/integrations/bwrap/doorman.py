"""Makes sockets inside a jail's network, from outside: one that listens, or some that dial.

Entering another user namespace is a one-way street and only open to a process with a single thread: each door is
opened by a short-lived child of a process that does nothing else.
"""

import array
import os
import socket
import struct
from typing import Final, NoReturn

from . import kernel

_ASK: Final = struct.Struct(">iH")
_ADDRESS: Final = "127.0.0.1"
_FREEBIND: Final = 15  # the jail may not have raised its loopback device yet
_BACKLOG: Final = 128
_DIALLING: Final = 16


class Doorman:
    """One process; made before the keeper has any thread."""

    def __init__(self) -> None:
        self._sock, there = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            _serve(there)
        there.close()

    def open(self, pid: int, port: int) -> socket.socket:
        """A socket listening at 127.0.0.1:`port` in the network of process `pid`. Raises `OSError`."""
        return self._ask(pid, port)[0]

    def dialling(self, pid: int) -> list[socket.socket]:
        """Sockets in the network of process `pid` that are connected to nothing yet. Raises `OSError`."""
        return self._ask(pid, 0)

    def _ask(self, pid: int, port: int) -> list[socket.socket]:
        self._sock.sendall(_ASK.pack(pid, port))
        _, rights, _, _ = self._sock.recvmsg(1, socket.CMSG_SPACE(4 * _DIALLING))
        if not rights:
            raise OSError(f"no door to the network of process {pid}")
        fds = array.array("i")
        fds.frombytes(rights[0][2][: len(rights[0][2]) // fds.itemsize * fds.itemsize])
        return [socket.socket(fileno=fd) for fd in fds]

    def close(self) -> None:
        """Send it home."""
        self._sock.close()


def _serve(sock: socket.socket) -> NoReturn:
    try:
        os.closerange(3, sock.fileno())
        os.closerange(sock.fileno() + 1, 1 << 16)
        while len(ask := sock.recv(_ASK.size)) == _ASK.size:
            child = os.fork()
            if child == 0:
                _open(sock, *_ASK.unpack(ask))
            if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
                sock.send(b"-")
    finally:
        os._exit(0)


def _open(sock: socket.socket, pid: int, port: int) -> NoReturn:
    try:
        network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        if os.geteuid() != 0:
            kernel.setns(kernel.owner_of(network), kernel.NEWUSER)
        kernel.setns(network, kernel.NEWNET)
        made = [socket.socket() for _ in range(1 if port else _DIALLING)]
        if port:
            made[0].setsockopt(socket.SOL_IP, _FREEBIND, 1)
            made[0].bind((_ADDRESS, port))
            made[0].listen(_BACKLOG)
        fds = array.array("i", [one.fileno() for one in made])
        sock.sendmsg([b"+"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
    except BaseException:  # noqa: BLE001  a copy of the doorman must never run on as the doorman
        os._exit(1)
    os._exit(0)
