"""Carry a request on to a server in a jail, and its answer back: bodies as streams, WebSockets both ways."""

import asyncio
from typing import Final

import aiohttp
from aiohttp import web

# RFC 9110 §7.6.1, and what the two connections each settle for themselves.
_HOP: Final = frozenset({
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade",
})  # fmt: skip
_OURS: Final = frozenset({"forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"})
_PIECE: Final = 64 * 1024
_FRAME: Final = 16 * 1024 * 1024
_CONNECT_S: Final = 5.0


class Inside:
    """A server in a jail, reached at a socket file."""

    def __init__(self, door: str) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(door, limit=256), auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S), skip_auto_headers=(
                "User-Agent", "Accept", "Accept-Encoding", "Content-Type",
            ),
        )  # fmt: skip

    async def close(self) -> None:
        """Cut all lines."""
        await self._session.close()

    async def look(self, path: str, timeout_s: float) -> int:
        """The status that a path answers with. Raises `aiohttp.ClientError`, `TimeoutError`."""
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        headers = {"Connection": "close", "User-Agent": "builderos-health"}
        async with self._session.get(
            f"http://localhost{path}", timeout=timeout, headers=headers, allow_redirects=False
        ) as answer:
            return answer.status

    async def answer(self, request: web.BaseRequest, headers: dict[str, str]) -> web.StreamResponse:
        """What a request gets; `headers` go along with it."""
        try:
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await self._socket(request, headers)
            return await self._plain(request, headers)
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError):
            if request.transport is None:
                raise ConnectionResetError from None
            return web.Response(status=502, headers=headers, text="The deployment does not answer.\n")

    async def _plain(self, request: web.BaseRequest, headers: dict[str, str]) -> web.StreamResponse:
        body = request.content if request.body_exists else None
        async with self._session.request(
            request.method, request.url, headers=_onwards(request), data=body, allow_redirects=False
        ) as inside:
            response = web.StreamResponse(status=inside.status, reason=inside.reason)
            for name, value in inside.headers.items():
                if name.lower() not in _HOP:
                    response.headers.add(name, value)
            response.headers.update(headers)
            await response.prepare(request)
            async for piece in inside.content.iter_chunked(_PIECE):
                await response.write(piece)
            await response.write_eof()
            return response

    async def _socket(self, request: web.BaseRequest, headers: dict[str, str]) -> web.StreamResponse:
        asked = [word.strip() for word in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        protocols = tuple(word for word in asked if word)
        onwards = [
            (name, value)
            for name, value in _onwards(request)
            if not name.lower().startswith("sec-websocket-")
        ]
        async with self._session.ws_connect(
            request.url, protocols=protocols, headers=onwards, max_msg_size=_FRAME
        ) as inside:
            outside = web.WebSocketResponse(
                protocols=(inside.protocol,) if inside.protocol else (), max_msg_size=_FRAME
            )
            outside.headers.update(headers)
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
            await outside.close()
            return outside


_Line = aiohttp.ClientWebSocketResponse | web.WebSocketResponse


async def _pass_on(source: _Line, sink: _Line) -> None:
    async for message in source:
        if message.type is aiohttp.WSMsgType.TEXT:
            await sink.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await sink.send_bytes(message.data)


def _onwards(request: web.BaseRequest) -> list[tuple[str, str]]:
    named = {word.strip().lower() for word in request.headers.get("Connection", "").split(",")}
    left_out = _HOP | _OURS | named
    headers = [(name, value) for name, value in request.headers.items() if name.lower() not in left_out]
    return [
        *headers, ("X-Forwarded-For", request.remote or ""), ("X-Forwarded-Host", request.headers.get("Host", "")),
        ("X-Forwarded-Proto", "http"),
    ]  # fmt: skip
