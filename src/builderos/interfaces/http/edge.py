"""The outermost layer: request ids, host check, media type and size of bodies, security headers, one log line."""

import ipaddress
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from builderos.core import logs, tracing
from builderos.core.context import Context
from builderos.core.ids import is_id, new_id
from builderos.core.metrics import Metrics
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.trust.quotas.service import Rates

from . import limits
from .challenge import IN_A_JAIL, JAIL, base_url, with_metadata
from .cookies import Cookies
from .place import LOOPBACK
from .problem import problem_response
from .serve import Incoming
from .traffic import Traffic
from .uploads import BYTES, is_part

log = logging.getLogger("builderos.access")
FORM: Final = "application/x-www-form-urlencoded"
_WORDS: Final = {FORM: "a form", "application/json": "JSON", BYTES: "mere bytes"}
# The protocol of OAuth speaks in forms (RFC 6749 app. B); their door knows that any page can send one.
FORMS: Final = frozenset(
    {"/oauth/authorize", "/oauth/token", "/oauth/revoke", "/oauth/device_authorization", "/device"}
)
# Clients of MLflow send files as whatever they are; their door looks at the rest by itself.
MLFLOW: Final = "/mlflow/"
MLFLOW_FILES: Final = re.compile(r"/mlflow/(?:ajax-)?api/2\.0/mlflow-artifacts/artifacts/")
_SPOKEN_ALOUD: Final = re.compile(rb"(?:^|&)access_token=")
_REQUEST_ID: Final = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
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


Dialect = Callable[[Problem, str], tuple[int, bytes, list[tuple[bytes, bytes]]]]
"""Status, body (JSON) and headers of a problem of one request, as clients of somebody else's interface know them."""


class Edge:
    """ASGI middleware around the whole server. `dialects`: by the beginning of a path."""

    def __init__(self, app: ASGIApp, context: Context, dialects: Mapping[str, Dialect] | None = None) -> None:
        self._app = app
        self._dialects = dialects or {}
        self._settings = context.get(Settings)
        self._cookies = context.get(Cookies)
        self._rates = context.get(Rates)
        self._metrics = context.get(Metrics)
        self._traffic = context.get(Traffic)
        self._hosts = allowed_hosts(self._settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = Headers(scope=scope)
        incoming = Incoming(
            given_id(headers) or new_id("req"),
            _bearer(headers) or self._cookies.credential(scope, headers),
            self._rates.caller(caller_of(scope, headers, self._settings.proxies)),
        )
        if IN_A_JAIL in scope:
            incoming = replace(incoming, door="jail", audience=JAIL)
        scope.setdefault("state", {})["incoming"] = incoming
        logs.request_id.set(incoming.request_id)
        self._traffic.active += 1
        self._metrics.in_progress.inc()
        status = 500

        async def stamped(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _stamp(message, incoming.request_id, last=self._traffic.draining)
                MutableHeaders(scope=message).update(limits.fields(incoming.seen.standings))
                if status in (401, 403):
                    self._say_where(message, scope, headers)
            await send(message)

        try:
            with tracing.door(scope["method"], headers) as span:
                try:
                    await self._pass_on(scope, receive, stamped, headers, incoming)
                finally:
                    _describe(span, scope, status, incoming)
        finally:
            self._traffic.active -= 1
            self._metrics.in_progress.dec()
            self._note(scope, status, incoming, time.perf_counter() - started)

    async def _pass_on(
        self, scope: Scope, receive: Receive, send: Send, headers: Headers, incoming: Incoming
    ) -> None:
        refusal = self._traffic.refusal(scope["path"]) or self._refuse(scope, headers)
        if refusal is not None:
            await self._said(refusal, incoming.request_id, scope["path"])(scope, receive, send)
        else:
            await self._app(scope, _limited(receive, self._most(scope), scope["path"]), send)

    def _said(self, refusal: Problem, request_id: str, path: str) -> Response:
        for head, dialect in self._dialects.items():
            if path.startswith(head):
                status, body, more = dialect(refusal, request_id)
                headers = {name.decode(): value.decode() for name, value in more}
                return Response(body, status, headers, media_type="application/json")
        return problem_response(refusal, request_id)

    def _most(self, scope: Scope) -> int:
        """Bytes that the body of a request may have."""
        part = is_part(scope["path"], scope["method"])
        if scope["method"] == "PUT" and MLFLOW_FILES.match(scope["path"]):
            return self._settings.max_artifact
        return self._settings.max_artifact_part if part else self._settings.max_body

    def _say_where(self, message: Message, scope: Scope, headers: Headers) -> None:
        """Name the document that leads to a credential (RFC 9728 §5.1); git's own challenge is of another kind."""
        sent = MutableHeaders(scope=message)
        bearer = sent.get("www-authenticate", "")
        if bearer.startswith("Bearer "):
            base = base_url(self._settings, scope, headers)
            sent["www-authenticate"] = with_metadata(bearer, base, scope["path"])

    def _note(self, scope: Scope, status: int, incoming: Incoming, seconds: float) -> None:
        """Count the request, and write its line: always where we failed, else from the level `info` on."""
        operation = operation_of(scope)
        self._metrics.request(operation, status, seconds)
        level = logging.WARNING if status >= 500 else logging.INFO
        if not log.isEnabledFor(level):
            return
        fields: dict[str, Any] = {
            "operation": operation, "method": scope["method"], "status": status, "ms": round(seconds * 1000, 2),
            "actor": incoming.seen.actor,
        }  # fmt: skip
        log.log(level, "request", extra={logs.FIELDS: fields})

    def _refuse(self, scope: Scope, headers: Headers) -> Problem | None:
        # Of two Host headers, whoever stands before us may have read the other one (RFC 9112, 3.2).
        named = len(headers.getlist("host"))
        if named > 1 or (self._hosts is not None and _host(headers) not in self._hosts):
            return Problem(
                "misdirected_request", "this server does not answer to that host name",
                hint="Use the address that `builderos up` printed, or set BUILDEROS_PUBLIC_URL.",
            )  # fmt: skip
        if _is_git(scope["path"]):
            return None
        length = headers.get("content-length", "")
        most = self._most(scope)
        if length.isdecimal() and int(length) > most:
            return _too_large(most)
        has_body = (length.isdecimal() and int(length) > 0) or "transfer-encoding" in headers
        if (
            has_body
            and scope["method"] not in ("GET", "HEAD", "OPTIONS")
            and not scope["path"].startswith(MLFLOW)
        ):
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            wanted = FORM if scope["path"] in FORMS else "application/json"
            if is_part(scope["path"], scope["method"]):
                wanted = BYTES
            if kind != wanted:
                return Problem(
                    "unsupported_media_type",
                    f"the body must be {_WORDS[wanted]}",
                    hint=f"Send Content-Type: {wanted}.",
                )
        if _SPOKEN_ALOUD.search(scope["query_string"]):
            return Problem(
                "validation_failed", "a token in an address is read by proxies and kept in histories",
                hint="End that token, and send the next one as Authorization: Bearer ….",
            )  # fmt: skip
        return None


def operation_of(scope: Scope) -> str:
    """What a request asked for, by a name of ours: never a path that was sent."""
    incoming: Incoming = scope["state"]["incoming"]
    route = scope.get("route")
    named = incoming.seen.operation or getattr(route, "operation_id", None) or getattr(route, "name", None)
    return named or "unmatched"


def given_id(headers: Headers) -> str | None:
    """The id that the caller, or a proxy, gave to the request: one of ours, a UUID or 32 hexadecimal digits.

    It is logged and kept in the record, where nothing of an anonymous person may stand: so nothing that could be a
    name or an address is taken.
    """
    found = headers.get("x-request-id", "")
    return found if is_id(found, "req") or _REQUEST_ID.fullmatch(found) else None


def _describe(span: tracing.Span, scope: Scope, status: int, incoming: Incoming) -> None:
    if not tracing.on():
        return
    route = getattr(scope.get("route"), "path", None)
    span.rename(f"{scope['method']} {route}" if route else scope["method"])
    span.set("http.request.method", scope["method"])
    span.set("http.response.status_code", status)
    span.set("builderos.operation", operation_of(scope))
    span.set("builderos.request_id", incoming.request_id)
    if route:
        span.set("http.route", route)
    if incoming.seen.actor:
        span.set("builderos.actor.role", incoming.seen.actor)
    if status >= 500:
        span.fail(str(status))


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


def _stamp(message: Message, request_id: str, *, last: bool) -> None:
    headers = MutableHeaders(scope=message)
    headers["x-request-id"] = request_id
    if last:
        headers["connection"] = "close"
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
