"""Requests to services that the owner of this server named: many at once, answers read while they come.

The library behind it is loaded by the first request. What is dialled is exactly the address that was checked, as in
`dialing`; redirects are answers, and nothing of the environment (proxies, credentials) is obeyed.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from . import tracing
from .dialing import IpNetwork, Unreachable, check_plain, public_addresses, target_of
from .problems import Problem

if TYPE_CHECKING:
    import aiohttp

CONNECT_S: Final = 10.0
IDLE_S: Final = 30.0
AT_ONCE: Final = 1000
_LOOPBACK: Final = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
_NOWHERE: Final = (ip_network("255.255.255.255/32"),)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a service is; `networks` are those of this server's own that its name may lead to."""

    base_url: str
    networks: tuple[IpNetwork, ...] = ()

    @classmethod
    def named(cls, base_url: str, networks: Sequence[IpNetwork] = ()) -> "Place":
        """A place as its owner wrote it down: whoever writes an address, or localhost, means this very address.

        Raises `validation_failed` for what is no address of a service.
        """
        try:
            host = (urlsplit(base_url).hostname or "").rstrip(".")
        except ValueError:
            host = ""
        own = list(networks)
        if host == "localhost":
            own += _LOOPBACK
        with contextlib.suppress(ValueError):
            own.append(ip_network(ip_address(host)))
        target_of(base_url, own or _NOWHERE)  # any port; plain HTTP is looked at where addresses are known
        return cls(base_url.rstrip("/"), tuple(own))


class Incoming:
    """An answer whose body is still coming. `close` it: what was not read is then never sent."""

    def __init__(self, response: "aiohttp.ClientResponse", within_s: float) -> None:
        self._response = response
        self._within_s = within_s
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises `Unreachable` where it breaks, or nothing comes for long."""
        content = self._response.content
        try:
            while True:
                async with asyncio.timeout(self._within_s):
                    chunk = await content.readany()
                if not chunk:
                    return
                yield chunk
        except TimeoutError:
            raise Unreachable("nothing came for too long") from None
        except _broken() as error:
            raise Unreachable(_plainly(error)) from error

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises `Unreachable` where it is longer than `limit`, or breaks."""
        parts: list[bytes] = []
        size = 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > limit:
                raise Unreachable(f"its answer has more than {limit} bytes")
            parts.append(chunk)
        return b"".join(parts)

    def close(self) -> None:
        """Let go: a connection whose answer was not read to its end is cut."""
        self._response.close()


class Outgoing:
    """One service. In the event loop that called `keep` its connections are kept, elsewhere they last as long as a
    request.
    """

    def __init__(self, place: Place, trust: ssl.SSLContext | None = None) -> None:
        self.place = place
        self._trust = trust
        self._kept: tuple[asyncio.AbstractEventLoop, aiohttp.ClientSession] | None = None

    async def post(
        self, path: str, body: bytes, headers: Mapping[str, str], *, first_s: float, idle_s: float
    ) -> Incoming:
        """Send JSON to `base_url/path`. `first_s` until the answer begins, `idle_s` between its parts.

        Raises `Unreachable`. Whoever is cancelled meanwhile leaves nothing open.
        """
        session, own = self._session()
        url = f"{self.place.base_url}/{path}"
        try:
            async with asyncio.timeout(first_s):
                response = await session.post(
                    url, data=body, headers={**headers, **tracing.headers()}, allow_redirects=False
                )
        except BaseException as error:
            if own:
                await session.close()
            if isinstance(error, TimeoutError):
                raise Unreachable("no answer began in time") from None
            if isinstance(error, _broken()):
                raise Unreachable(_plainly(error), unsent=_unsent(error)) from error
            raise
        return _Alone(response, idle_s, session) if own else Incoming(response, idle_s)

    async def close(self) -> None:
        """End the kept connections; in the loop that they belong to."""
        kept, self._kept = self._kept, None
        if kept is not None:
            await kept[1].close()

    def keep(self) -> None:
        """From now on the running loop keeps connections."""
        loop = asyncio.get_running_loop()
        if self._kept is None or self._kept[0] is not loop:
            self._kept = (loop, self._made())

    def _session(self) -> "tuple[aiohttp.ClientSession, bool]":
        kept = self._kept
        if kept is not None and kept[0] is asyncio.get_running_loop():
            return kept[1], False
        return self._made(), True

    def _made(self) -> "aiohttp.ClientSession":
        import aiohttp

        connector = aiohttp.TCPConnector(
            resolver=_resolver(self.place), use_dns_cache=False, limit=AT_ONCE, keepalive_timeout=IDLE_S,
            ssl=self._trust or True,
        )  # fmt: skip
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)
        return aiohttp.ClientSession(
            connector=connector, timeout=timeout, trust_env=False, auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(), skip_auto_headers=("Accept-Encoding", "User-Agent"),
        )  # fmt: skip


class _Alone(Incoming):
    """The answer of a session of its own."""

    def __init__(
        self, response: "aiohttp.ClientResponse", within_s: float, session: "aiohttp.ClientSession"
    ) -> None:
        super().__init__(response, within_s)
        self._session = session

    async def chunks(self) -> AsyncIterator[bytes]:
        """As elsewhere; the connection ends with the body."""
        try:
            async for chunk in super().chunks():
                yield chunk
        finally:
            self._response.close()
            await asyncio.shield(self._session.close())

    def close(self) -> None:
        super().close()
        if not self._session.closed:
            self._ending = asyncio.ensure_future(self._session.close())


def _resolver(place: Place) -> Any:
    from aiohttp.abc import AbstractResolver, ResolveResult

    class Checked(AbstractResolver):
        """Only addresses that may be dialled."""

        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            del family
            try:
                found = await asyncio.to_thread(public_addresses, host, port, place.networks)
                if place.base_url.startswith("http:"):
                    check_plain(found, place.networks)
            except Problem as problem:
                raise OSError(problem.detail) from problem
            return [
                ResolveResult(
                    hostname=host, host=address, port=port, proto=0, flags=socket.AI_NUMERICHOST,
                    family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                )
                for address in found
            ]  # fmt: skip

        async def close(self) -> None:
            return None

    return Checked()


def _broken() -> tuple[type[BaseException], ...]:
    import aiohttp

    return (aiohttp.ClientError, OSError, ValueError)


def _unsent(error: BaseException) -> bool:
    import aiohttp

    # Of a kept connection it is not known whether the other side had already let go of it: everybody asks again.
    return isinstance(
        error, aiohttp.ClientOSError | aiohttp.ConnectionTimeoutError | aiohttp.ServerDisconnectedError
    )


def _plainly(error: BaseException) -> str:
    import aiohttp

    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return "no encrypted connection could be made, or its certificate is not valid"
    if isinstance(error, aiohttp.ClientConnectorError):
        refused = isinstance(error.os_error, ConnectionRefusedError)
        return "it refused the connection" if refused else f"it cannot be reached: {error.os_error}"[:200]
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError | OSError):
        return "the connection broke"
    return "its answer was not HTTP"


def retry_after(text: str | None) -> float | None:
    """Seconds, where the header `Retry-After` tells seconds."""
    with contextlib.suppress(TypeError, ValueError):
        return max(0.0, float(text or ""))
    return None
