"""Carry a request on to a server in a jail, and its answer back: bodies as streams, WebSockets both ways."""

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp import web
from yarl import URL

# RFC 9110 §7.6.1, and what the two connections each settle for themselves.
_HOP: Final = frozenset({
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade",
})  # fmt: skip
_OURS: Final = frozenset({"forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"})
_PIECE: Final = 64 * 1024
_FRAME: Final = 64 * 1024 * 1024
_CONNECT_S: Final = 5.0
_LINES: Final = 256
_KEPT_S: Final = 1.0  # less than servers wait for the next request before they close a line
_AGAIN: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_SAYABLE: Final = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})  # RFC 6455 §7.4

SILENT: Final = (aiohttp.ClientError, TimeoutError, OSError)
"""What asking a server raises that does not answer."""

Header = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Passing:
    """What changes on the way. `onwards` and `back` take one header and give what is passed on of it, or None;
    `more` goes along with a request; with an answer `headers`, instead of its own of those names, and `beside`, next to
    them. `most`: bytes that a request's body may have, 0 for any number.
    """

    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    more: tuple[Header, ...] = ()
    onwards: Callable[[str, str], str | None] | None = None
    back: Callable[[str, str], str | None] | None = None
    scheme: str = "http"
    beside: tuple[Header, ...] = ()
    most: int = 0


class Inside:
    """A server in a jail, reached at a socket file. `held`: a descriptor to be closed with the lines."""

    def __init__(self, door: str, frame: int = _FRAME, held: int = -1) -> None:
        self._frame = frame
        self._held = held
        # A line that was kept may be closed by the server just as it is used again. So it carries only what can be
        # asked twice, which the client then does; and what said that it is the last on its line is never kept.
        self._kept = _session(aiohttp.UnixConnector(door, limit=_LINES, keepalive_timeout=_KEPT_S))
        self._fresh = _session(aiohttp.UnixConnector(door, limit=_LINES, force_close=True))

    @classmethod
    def at(cls, door: Path) -> "Inside":
        """By way of the open folder: the path of a socket may have 107 bytes, a folder's more. Raises `OSError`."""
        held = os.open(door.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return cls(f"/proc/self/fd/{held}/{door.name}", held=held)

    async def close(self) -> None:
        """Cut all lines."""
        await self._kept.close()
        await self._fresh.close()
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    async def look(self, path: str, timeout_s: float) -> int:
        """The status that a path answers with. Raises `aiohttp.ClientError`, `TimeoutError`."""
        return (await self.ask(path, timeout_s, {"User-Agent": "builderos-health"}, most=0))[0]

    async def ask(
        self, path: str, timeout_s: float, headers: Mapping[str, str], most: int = 1 << 20
    ) -> tuple[int, bytes]:
        """Status and first `most` bytes that a path answers with. Raises `aiohttp.ClientError`, `TimeoutError`."""
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        async with self._fresh.get(
            f"http://localhost{path}", timeout=timeout, headers=headers, allow_redirects=False
        ) as answer:
            body = b""
            while len(body) < most and (piece := await answer.content.read(most - len(body))):
                body += piece
            return answer.status, body

    async def post(self, path: str, body: bytes, timeout_s: float) -> tuple[int, bytes]:
        """Status and body that a JSON document is answered with. Raises `aiohttp.ClientError`, `TimeoutError`."""
        async with self._fresh.post(
            f"http://localhost{path}", data=body, headers={"Content-Type": "application/json"},
            timeout=aiohttp.ClientTimeout(total=timeout_s), allow_redirects=False,
        ) as answer:  # fmt: skip
            return answer.status, await answer.read()

    async def answer(
        self, request: web.BaseRequest, passing: Passing, *, silent: str = "The deployment does not answer.\n"
    ) -> web.StreamResponse:
        """What a request gets; `silent` where nobody answers inside. Raises `TooLarge` for more than `passing.most`."""
        try:
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await self._socket(request, passing)
            return await self._plain(request, passing)
        except aiohttp.WSServerHandshakeError as refused:
            return web.Response(status=refused.status, headers=dict(passing.headers), text="Refused.\n")
        except (
            aiohttp.ClientError,
            TimeoutError,
        ) as error:  # whoever speaks no HTTP inside does not answer either
            if isinstance(error.__cause__, TooLarge):
                raise error.__cause__ from None
            if request.transport is None:
                raise ConnectionResetError from None
            return web.Response(status=502, headers=dict(passing.headers), text=silent)

    async def _plain(self, request: web.BaseRequest, passing: Passing) -> web.StreamResponse:
        body = _bounded(request, passing.most) if request.body_exists else None
        session = self._kept if body is None and request.method in _AGAIN else self._fresh
        async with session.request(
            request.method, _target(request), headers=_onwards(request, passing), data=body, allow_redirects=False
        ) as inside:  # fmt: skip
            response = web.StreamResponse(status=inside.status, reason=inside.reason)
            for name, value in inside.headers.items():
                kept = value if passing.back is None else passing.back(name.lower(), value)
                if kept is not None and name.lower() not in _HOP:
                    response.headers.add(name, kept)
            response.headers.update(passing.headers)
            for name, value in passing.beside:
                response.headers.add(name, value)
            await response.prepare(request)
            async for piece in inside.content.iter_chunked(_PIECE):
                await response.write(piece)
            await response.write_eof()
            return response

    async def _socket(self, request: web.BaseRequest, passing: Passing) -> web.StreamResponse:
        asked = [word.strip() for word in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        protocols = tuple(word for word in asked if word)
        onwards = [
            (name, value)
            for name, value in _onwards(request, passing)
            if not name.lower().startswith("sec-websocket-")
        ]
        async with self._fresh.ws_connect(
            _target(request), protocols=protocols, headers=onwards, max_msg_size=self._frame
        ) as inside:
            outside = web.WebSocketResponse(
                protocols=(inside.protocol,) if inside.protocol else (), max_msg_size=self._frame, compress=False
            )  # fmt: skip
            outside.headers.update(passing.headers)
            await outside.prepare(request)
            lanes = [
                asyncio.create_task(_pass_on(inside, outside)),
                asyncio.create_task(_pass_on(outside, inside)),
            ]
            try:
                await asyncio.wait(lanes, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for lane in lanes:
                    lane.cancel()
                await asyncio.gather(*lanes, return_exceptions=True)
            await inside.close(code=_said(outside.close_code))
            await outside.close(code=_said(inside.close_code))
            return outside


def _session(connector: aiohttp.UnixConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S), skip_auto_headers=(
            "User-Agent", "Accept", "Accept-Encoding", "Content-Type",
        ),
    )  # fmt: skip


class TooLarge(Exception):
    """A request's body has more bytes than it may; what was sent of it has reached the server."""


def _bounded(request: web.BaseRequest, most: int) -> AsyncIterable[bytes]:
    """A body as it comes. Raises `TooLarge`, before anything is sent where its length is known."""
    if most and (request.content_length or 0) > most:
        raise TooLarge
    return _counted(request.content, most) if most else request.content


async def _counted(content: aiohttp.StreamReader, most: int) -> AsyncIterator[bytes]:
    async for piece in content.iter_chunked(_PIECE):
        most -= len(piece)
        if most < 0:
            raise TooLarge
        yield piece


_Line = aiohttp.ClientWebSocketResponse | web.WebSocketResponse


async def _pass_on(source: _Line, sink: _Line) -> None:
    async for message in source:
        if message.type is aiohttp.WSMsgType.TEXT:
            await sink.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await sink.send_bytes(message.data)


def _said(code: int | None) -> int:
    """A reason for closing as the other side may be told it: some only tell what was not said (RFC 6455 §7.4.1)."""
    if code is None:
        return 1000
    return code if code in _SAYABLE else 1001 if code == 1006 else 1000


def _target(request: web.BaseRequest) -> URL:
    """The path as it was sent, whatever is encoded in it. The header Host is the request's own."""
    path = request.raw_path
    return URL(f"http://localhost{path if path.startswith('/') else request.url.raw_path_qs}", encoded=True)


def _onwards(request: web.BaseRequest, passing: Passing) -> list[Header]:
    named = {word.strip().lower() for word in request.headers.get("Connection", "").split(",")}
    left_out = _HOP | _OURS | named
    headers: list[Header] = []
    for name, value in request.headers.items():
        kept = value if passing.onwards is None else passing.onwards(name.lower(), value)
        if kept is not None and name.lower() not in left_out:
            headers.append((name, kept))
    return [
        *headers, *passing.more, ("X-Forwarded-For", request.remote or ""),
        ("X-Forwarded-Host", request.headers.get("Host", "")), ("X-Forwarded-Proto", passing.scheme),
    ]  # fmt: skip
