"""Ask a server in a jail many times a second: lines that are kept, and as much of HTTP/1.1 as such an answer takes.

Where whoever watches the jail hands out connected sockets, at a file `lines` beside the door, a line leads straight to
the server; else it goes by way of the door.

A kept line is used again only where nothing waits to be read on it, the end of it included: then the server has not
left it, and what is sent is asked once. Whatever a server says beyond a plain answer ends its line.
"""

import asyncio
import os
import select
import socket
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

_CONNECT_S: Final = 5.0
_HEAD: Final = 65_536
_HELD: Final = 262_144
_KEPT: Final = 64
_MOST: Final = 128


class Silent(Exception):
    """No answer: nobody is there, too late, or no HTTP."""


@dataclass(slots=True)
class Reply:
    """What was answered. `stream`: the body as it comes, where the server does not say how long it is."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    stream: "AsyncIterator[bytes] | None" = field(default=None, repr=False)


class _Line(asyncio.Protocol):
    """One connection, with one request at a time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = bytearray()
        self._poll = select.poll()
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Reply] | None = None
        self._head: Reply | None = None
        self._length: int | None = None
        self._pieces: asyncio.Event | None = None
        self._paused = False
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It stands."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are of no class of asyncio's
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def fit(self) -> bool:
        """Whether another request may be sent on it."""
        return not self.ended and not self._poll.poll(0)

    def ask(self, request: bytes) -> "asyncio.Future[Reply]":
        """Send a request; its answer, or `Silent`."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        """A part of the answer."""
        if self._answer is None or (self._answer.done() and self._pieces is None):
            self.end()  # it speaks without being asked
            return
        self._held += data
        if self._head is None and not self._read_head():
            return
        if self._pieces is not None:
            self._pieces.set()
            if len(self._held) > _HELD and not self._paused and self._transport is not None:
                self._paused = True
                self._transport.pause_reading()
            return
        assert self._length is not None
        assert self._head is not None
        if len(self._held) >= self._length:
            self._whole(self._head, self._length)

    def _read_head(self) -> bool:
        end = self._held.find(b"\r\n\r\n")
        if end < 0:
            if len(self._held) > _HEAD:
                self.end()
            return False
        found = _head(bytes(self._held[:end]))
        if found is None:
            self.end()
            return False
        del self._held[: end + 4]
        self._head, length = found, found.headers.get("content-length", "")
        if not length and found.headers.get("connection", "").lower() == "close":
            self._pieces = asyncio.Event()
            found.stream = self._stream()
            self._tell(found)
            return True
        if not length.isdecimal() or len(length) > 12 or int(length) > self._most:
            self.end()
            return False
        self._length = int(length)
        return True

    def _whole(self, head: Reply, length: int) -> None:
        head.body = bytes(self._held[:length])
        last = len(self._held) > length or head.headers.get("connection", "").lower() == "close"
        self._held.clear()
        self._head, self._length = None, None
        if last:
            self.end(head)
        else:
            self._tell(head)

    def _tell(self, reply: Reply) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(reply)

    async def _stream(self) -> AsyncIterator[bytes]:
        assert self._pieces is not None
        assert self._transport is not None
        try:
            while True:
                await self._pieces.wait()
                self._pieces.clear()
                piece = bytes(self._held)
                self._held.clear()
                if piece:
                    yield piece
                if self.ended and not self._held:
                    return
                if self._paused and not self.ended:
                    self._paused = False
                    self._transport.resume_reading()
        finally:
            self.end()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's
        """It is cut."""
        self.end()

    def end(self, reply: Reply | None = None) -> None:
        """Cut it; whoever waits hears `reply`, or that nothing came."""
        self.ended = True
        if self._transport is not None:
            self._transport.abort()
        if self._pieces is not None:
            self._pieces.set()
        if self._answer is not None and not self._answer.done():
            if reply is None:
                self._answer.set_exception(Silent("no answer"))
            else:
                self._answer.set_result(reply)


def _head(raw: bytes) -> Reply | None:
    first, *lines = raw.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    code = rest[:3]
    if version != "HTTP/1.1" or not code.isdecimal() or not 200 <= int(code) <= 599:
        return None
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    return None if "transfer-encoding" in headers else Reply(int(code), headers)


class Lines:
    """The lines to one server, reached at a socket file. Of one event loop."""

    def __init__(self, door: Path, most: int) -> None:
        """`most`: bytes that an answer may have. Raises `OSError`."""
        # By way of the open folder: the path of a socket may have 107 bytes, a folder's more.
        self._held = os.open(door.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._place = f"/proc/self/fd/{self._held}/{door.name}"
        self._handed = f"/proc/self/fd/{self._held}/lines"
        self._most = most
        self._idle: deque[_Line] = deque()
        self._room = asyncio.Semaphore(_MOST)

    def close(self) -> None:
        """Cut the lines that are not in use."""
        while self._idle:
            self._idle.pop().end()
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    async def post(self, path: str, body: bytes, timeout_s: float, accept: str = "") -> Reply:
        """What a JSON document is answered with. Raises `Silent`."""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n" + (f"Accept: {accept}\r\n\r\n" if accept else "\r\n")
        )
        async with self._room:
            line = await self._line()
            late = asyncio.get_running_loop().call_later(timeout_s, line.end)
            try:
                reply = await line.ask(head.encode("latin-1") + body)
            except BaseException:
                line.end()
                raise
            finally:
                late.cancel()
            if reply.stream is None and not line.ended:
                self._keep(line)
            return reply

    def _keep(self, line: _Line) -> None:
        if len(self._idle) < _KEPT and self._held >= 0:
            self._idle.append(line)
        else:
            line.end()

    async def _line(self) -> _Line:
        while self._idle:
            line = self._idle.pop()
            if line.fit():
                return line
            line.end()
        if self._held < 0:
            raise Silent("closed")
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CONNECT_S):
                straight = await asyncio.to_thread(_handed, self._handed)
                if straight is None:
                    return (await loop.create_unix_connection(lambda: _Line(self._most), self._place))[1]
                return (await loop.create_connection(lambda: _Line(self._most), sock=straight))[1]
        except (OSError, TimeoutError) as error:
            raise Silent(str(error)) from error


def _handed(place: str) -> socket.socket | None:
    """A socket that is connected to the server; None where nobody hands any out. Blocks. Raises `OSError`."""
    with socket.socket(socket.AF_UNIX) as asks:
        asks.settimeout(_CONNECT_S)
        try:
            asks.connect(place)
        except FileNotFoundError:
            return None
        _, given, _, _ = socket.recv_fds(asks, 1, 1)
    if not given:
        raise ConnectionRefusedError("nobody answers there")
    found = socket.socket(fileno=given[0])
    found.setblocking(False)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return found
