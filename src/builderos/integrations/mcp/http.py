"""HTTP for the protocol's client: exactly the address that was checked is dialled, and no answer is endless.

Nothing of the environment (proxies, credentials) is obeyed, and what comes compressed is not taken: a few bytes of that
can be gigabytes.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Final, cast

import httpcore2
import httpx2

from builderos import VERSION
from builderos.core.dialing import check_plain, public_addresses
from builderos.core.outgoing import Place
from builderos.core.problems import Problem

MAX_ANSWER: Final = 16 * 1024 * 1024
MAX_ALL: Final = 256 * 1024 * 1024
_CONNECT_S: Final = 10.0


def client(place: Place, headers: Mapping[str, str], timeout_s: float) -> httpx2.AsyncClient:
    """A client for one place."""
    return httpx2.AsyncClient(
        transport=_Transport(place), trust_env=False, follow_redirects=False,
        headers={**headers, "accept-encoding": "identity", "user-agent": f"builderos/{VERSION}"},
        timeout=httpx2.Timeout(_CONNECT_S, read=timeout_s),
    )  # fmt: skip


class _Dialer(httpcore2.AsyncNetworkBackend):
    """Looks a name up once, and dials what was looked at."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._plain = place.base_url.startswith("http:")
        self._real = cast("httpcore2.AsyncNetworkBackend", httpcore2.AnyIOBackend())

    async def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None,  # noqa: ASYNC109
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:  # fmt: skip
        """Raises `httpcore2.ConnectError` where it may not be dialled."""
        del local_address
        try:
            found = await asyncio.to_thread(public_addresses, host, port, self._place.networks)
            if self._plain:
                check_plain(found, self._place.networks)
        except Problem as problem:
            raise httpcore2.ConnectError(problem.detail) from problem
        error: Exception | None = None
        for address in found:
            try:
                return await self._real.connect_tcp(address, port, timeout, None, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as failed:
                error = failed
        raise error or httpcore2.ConnectError("it has no address")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Transport(httpx2.AsyncBaseTransport):
    """Requests through a pool of connections that `_Dialer` makes."""

    def __init__(self, place: Place) -> None:
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(), network_backend=_Dialer(place), max_connections=10,
        )  # fmt: skip
        self._left = MAX_ALL

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See `httpx2`."""
        url = request.url
        asked = httpcore2.Request(
            request.method,
            httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw, content=request.stream, extensions=request.extensions,
        )  # fmt: skip
        try:
            answer = await self._pool.handle_async_request(asked)
        except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException) as error:
            raise httpx2.ConnectError(str(error) or type(error).__name__) from error
        response = httpx2.Response(
            answer.status,
            headers=answer.headers,
            stream=_Bounded(self, answer.stream),
            extensions=cast("dict[str, Any]", answer.extensions),  # pyright: ignore[reportUnknownMemberType]
        )
        if response.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            await response.aclose()
            raise httpx2.ReadError("its answer is compressed, which nobody asked for")
        return response

    def took(self, size: int) -> None:
        """Raises `httpx2.ReadError` where all answers together are too long."""
        self._left -= size
        if self._left < 0:
            raise httpx2.ReadError(f"its answers have more than {MAX_ALL} bytes")

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Bounded(httpx2.AsyncByteStream):
    """The body of an answer, as far as anybody reads it."""

    def __init__(self, transport: _Transport, stream: Any) -> None:
        self._transport = transport
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        try:
            async for part in self._stream:
                size += len(part)
                self._transport.took(len(part))
                if size > MAX_ANSWER:
                    raise httpx2.ReadError(f"its answer has more than {MAX_ANSWER} bytes")
                yield part
        except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException) as error:
            raise httpx2.ReadError(str(error) or type(error).__name__) from error

    async def aclose(self) -> None:
        await self._stream.aclose()
