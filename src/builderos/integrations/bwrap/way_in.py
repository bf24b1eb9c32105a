"""The way to a server inside a jail: a socket file outside, each connection carried on to the jail's own loopback.

A TCP socket stays in the network that it was made in, whoever connects it. So a few are made inside at once, by the
doorman, and each is connected from here: nothing in the jail has to help, and nothing of it is listened to. At a second
socket file the connected socket itself is handed out: whoever asks many times a second then speaks with nobody between.
"""

import asyncio
import os
import socket
from collections import deque
from typing import Final

from builderos.core.sockets import listener_at

from .doorman import Doorman

NAME: Final = "door"
HANDED: Final = "lines"
_CHUNK: Final = 65536
_MOST: Final = 512
_LOOPBACK: Final = "127.0.0.1"


class WayIn:
    """The connections to one port in the network of process `pid`."""

    def __init__(self, doorman: Doorman, pid: int, port: int) -> None:
        self._doorman = doorman
        self._pid = pid
        self._port = port
        self._spare: deque[socket.socket] = deque()
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, folder: str) -> None:
        """Listen at `folder`/door, and hand out lines at `folder`/lines. Raises `OSError`."""
        for name, serve in ((HANDED, self._hand), (NAME, self._one)):
            door = listener_at(folder, name)
            try:
                self._servers.append(await asyncio.start_unix_server(serve, sock=door, backlog=128))
            except BaseException:
                door.close()
                raise

    def close(self) -> None:
        """Cut all lines."""
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        while self._spare:
            self._spare.popleft().close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # a callback of a server runs as a task
        self._tasks.add(task)
        try:
            if len(self._tasks) <= _MOST:
                await self._carry(reader, writer)
        except (OSError, asyncio.CancelledError):
            return  # nobody listens inside, or one side went away: the other one sees its line end
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _hand(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Give a line itself, with the one byte that has to go along, and hang up."""
        try:
            with await self._dialled() as inside, socket.socket(fileno=os.dup(_number(writer))) as asks:
                socket.send_fds(asks, [b"+"], [inside.fileno()])
        except OSError:
            return  # nobody listens inside, or who asked is gone: it sees its line end
        finally:
            writer.close()

    async def _dialled(self) -> socket.socket:
        """A line to the port. Raises `OSError`."""
        if not self._spare:
            self._spare.extend(self._doorman.dialling(self._pid))
        inside = self._spare.popleft()
        try:
            inside.setblocking(False)
            await asyncio.get_running_loop().sock_connect(inside, (_LOOPBACK, self._port))
        except BaseException:
            inside.close()
            raise
        return inside

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inside = await self._dialled()
        try:
            there, back = await asyncio.open_connection(sock=inside)
        except BaseException:
            inside.close()
            raise
        await join((reader, writer), (there, back))


Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def join(one: Line, other: Line) -> None:
    """Carry bytes both ways until both sides have said all, or one fails; then close the other. Raises `OSError`."""
    lanes = [asyncio.create_task(_pass_on(one[0], other[1])), asyncio.create_task(_pass_on(other[0], one[1]))]
    try:
        await asyncio.gather(*lanes)
    finally:
        for lane in lanes:
            lane.cancel()
        other[1].close()


async def _pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Bytes one way, until there are no more."""
    while data := await source.read(_CHUNK):
        sink.write(data)
        await sink.drain()
    if sink.can_write_eof():
        sink.write_eof()


def _number(writer: asyncio.StreamWriter) -> int:
    found: int = writer.get_extra_info("socket").fileno()
    return found
