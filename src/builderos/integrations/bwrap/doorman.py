"""Opens a listening socket inside a jail's network, from outside.

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
        self._sock.sendall(_ASK.pack(pid, port))
        _, rights, _, _ = self._sock.recvmsg(1, socket.CMSG_SPACE(4))
        if not rights:
            raise OSError(f"no door to the network of process {pid}")
        fds = array.array("i", rights[0][2][:4])
        return socket.socket(fileno=fds[0])

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
        door = socket.socket()
        door.setsockopt(socket.SOL_IP, _FREEBIND, 1)
        door.bind((_ADDRESS, port))
        door.listen(_BACKLOG)
        sock.sendmsg([b"+"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [door.fileno()]))])
    except BaseException:  # noqa: BLE001  a copy of the doorman must never run on as the doorman
        os._exit(1)
    os._exit(0)
