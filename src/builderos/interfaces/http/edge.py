"""The outermost layer: request ids, host check, media type and size of bodies, security headers, one log line."""

import ipaddress
import json
import logging
import time
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.trust.quotas.service import Rates

from .cookies import Cookies
from .problem import problem_response
from .serve import Incoming

log = logging.getLogger("builderos.access")
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})
SAFE_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}


def allowed_hosts(settings: Settings) -> frozenset[str] | None:
    """Host names this server answers to; None: any (bound beyond loopback and no public address configured)."""
    public = {urlsplit(settings.public_url).hostname or ""} if settings.public_url else set[str]()
    if settings.host in LOOPBACK or public:
        return LOOPBACK | public | {settings.host}
    return None


class Edge:
    """ASGI middleware around the whole server."""

    def __init__(self, app: ASGIApp, settings: Settings, rates: Rates, cookies: Cookies) -> None:
        self._cookies = cookies
        self._app = app
        self._settings = settings
        self._rates = rates
        self._hosts = allowed_hosts(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = new_id("req")
        started = time.perf_counter()
        status = 500
        scope.setdefault("state", {})["incoming"] = Incoming(
            request_id,
            _bearer(headers) or self._cookies.credential(scope, headers),
            self._rates.caller(caller_of(scope, headers, self._settings.proxies)),
        )

        async def stamped(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _stamp(message, request_id)
            await send(message)

        try:
            refusal = self._refuse(scope, headers)
            if refusal is not None:
                await problem_response(refusal, request_id)(scope, receive, stamped)
            else:
                await self._app(scope, _limited(receive, self._settings.max_body, scope["path"]), stamped)
        finally:
            took_ms = (time.perf_counter() - started) * 1000
            route = getattr(scope.get("route"), "path", scope["path"] if status < 400 else "")
            log.info(
                json.dumps({"request_id": request_id, "method": scope["method"], "route": route, "status": status,
                            "ms": round(took_ms, 2)})
            )  # fmt: skip

    def _refuse(self, scope: Scope, headers: Headers) -> Problem | None:
        if self._hosts is not None and _host(headers) not in self._hosts:
            return Problem(
                "misdirected_request", "this server does not answer to that host name",
                hint="Use the address that `builderos up` printed, or set BUILDEROS_PUBLIC_URL.",
            )  # fmt: skip
        if _is_git(scope["path"]):
            return None
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > self._settings.max_body:
            return _too_large(self._settings.max_body)
        has_body = (length.isdigit() and int(length) > 0) or "transfer-encoding" in headers
        if has_body and scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != "application/json":
                return Problem(
                    "unsupported_media_type",
                    "the body must be JSON",
                    hint="Send Content-Type: application/json.",
                )
        return None


def caller_of(scope: Scope, headers: Headers, proxies: int) -> str:
    """The network address that counts as one caller: an IPv4 address, the /64 network of an IPv6 one.

    With `proxies` trusted ones in front it is the entry of X-Forwarded-For that the outermost of them added: what
    stands left of it is the caller's own word.
    """
    peer = (scope.get("client") or ("local", 0))[0]
    if proxies:
        told = ",".join(headers.getlist("x-forwarded-for")).split(",")
        peer = told[-proxies].strip() if len(told) >= proxies else peer
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return (scope.get("client") or ("local", 0))[0]
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or ipaddress.ip_network((int(address), 64), strict=False))


def _host(headers: Headers) -> str:
    """The host name that was asked for, without the port; nothing where it cannot be read."""
    try:
        return urlsplit("//" + headers.get("host", "")).hostname or ""
    except ValueError:  # a bracket without its partner
        return ""


def _is_git(path: str) -> bool:
    """Packs are no JSON documents and have limits of their own."""
    return path.startswith("/git/") and ".git/" in path


def _too_large(limit: int) -> Problem:
    return Problem(
        "payload_too_large",
        f"the body is larger than {limit} bytes",
        hint="Send less in one call.",
        limit=limit,
    )


def _bearer(headers: Headers) -> str | None:
    value = headers.get("authorization", "")
    scheme, _, secret = value.partition(" ")
    return secret.strip() if scheme.lower() == "bearer" and secret.strip() else None


def _stamp(message: Message, request_id: str) -> None:
    headers = MutableHeaders(scope=message)
    headers["x-request-id"] = request_id
    for name, value in SAFE_HEADERS.items():
        headers.setdefault(name, value)


def _limited(receive: Receive, limit: int, path: str) -> Receive:
    """Count the bytes of a body without a length; git counts its packs itself."""
    if _is_git(path):
        return receive
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise _too_large(limit)
        return message

    return counted
