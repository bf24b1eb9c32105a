"""The way from a jail to the server that started it: a port of the jail's own loopback, each connection carried on to
a socket file at which that server answers what such commands may ask. Nothing else is reached by it.
"""

import asyncio
import os
import socket
from pathlib import Path
from typing import Final

from .way_in import join

_MOST: Final = 64  # at once for one command: files and threads of the keeper are everybody's


class WayOut:
    """The connections of one command to `door`."""

    def __init__(self, door: str) -> None:
        self._door = Path(door)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, sock: socket.socket) -> None:
        """Take connections on a socket that listens inside."""
        self._server = await asyncio.start_server(self._one, sock=sock)

    def close(self) -> None:
        """Cut all lines."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # a callback of a server runs as a task
        self._tasks.add(task)
        try:
            if len(self._tasks) <= _MOST:
                await self._carry(reader, writer)
        except (OSError, asyncio.CancelledError):
            return  # the server is away, or one side has left: the other one sees its line end
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # By way of the open folder: the path of a socket may have 107 bytes, that of a folder more.
        held = os.open(self._door.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            there, onwards = await asyncio.open_unix_connection(f"/proc/self/fd/{held}/{self._door.name}")
        finally:
            os.close(held)
        await join((reader, writer), (there, onwards))
