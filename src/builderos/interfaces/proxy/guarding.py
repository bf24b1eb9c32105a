"""Who may pass the door, and what changes on the way.

A program shows its token in the header Authorization. A browser follows a link with `?token=`, once, and gets a cookie
for the path of that session alone. What was shown here never reaches the server of the session: that gets a secret of
its own, which nobody outside of this process knows. With a cookie, only pages of the session itself may ask (RFC 6265
§8.8, Fetch Metadata): what a page elsewhere starts is refused.
"""

import asyncio
import functools
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from aiohttp import web

from builderos.core.clock import utcnow
from builderos.core.context import Context
from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.execution.serving.service import Inside, Passing
from builderos.workloads.sessions.ports import Address, Way, base_of, label_of
from builderos.workloads.sessions.service import Keeper, tokens

COOKIE: Final = "bos_session"
_FRESH_S: Final = 5.0
_KNOWN: Final = 5000
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_NOT_ONWARDS: Final = frozenset({"authorization", "x-xsrftoken"})
_NOT_BACK: Final = frozenset({
    "content-security-policy", "content-security-policy-report-only", "x-frame-options", "server", "clear-site-data",
    "strict-transport-security", "alt-svc", "report-to", "nel", "service-worker-allowed",
})  # fmt: skip
_SANDBOX: Final = (
    "sandbox allow-scripts allow-same-origin allow-forms allow-popups allow-popups-to-escape-sandbox allow-downloads "
    "allow-modals"
)


@dataclass(frozen=True, slots=True)
class Known:
    """A token that was looked at just now."""

    at: float
    admission: tokens.Admission


class Watch:
    """Looks, as long as an answer goes on, whether it may: where not, its line is cut. Costs short ones nothing."""

    def __init__(self, request: web.BaseRequest, still: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._request = request
        self._still = still
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(_FRESH_S, self._look)

    def close(self) -> None:
        """The answer is over."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _look(self) -> None:
        self._task = self._loop.create_task(self._looked())

    async def _looked(self) -> None:
        try:
            await self._still()
        except Problem as problem:
            if not problem.retryable:  # else the database is away: nothing is known of what changed
                if self._request.transport is not None:
                    self._request.transport.abort()
                return
        self._timer = self._loop.call_later(_FRESH_S, self._look)


class Guard:
    """Lives on the loop of the door."""

    def __init__(self, context: Context, port: int) -> None:
        self._context = context
        self._port = port
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._insides: dict[str, tuple[Way, Inside]] = {}
        console = context.get(Settings).address
        self._csp = f"{_SANDBOX}; frame-ancestors 'self' {console}"

    async def close(self) -> None:
        """Cut all lines to sessions."""
        insides, self._insides = self._insides, {}
        for _, inside in insides.values():
            await inside.close()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """What a request gets."""
        try:
            return await self._answer(request)
        except Problem as problem:
            return told(problem)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        id_ = _session_of(request.raw_path)
        self._check_host(request, id_)
        link = _link_of(request)
        if link is not None:
            return await self._follow(request, id_, link)
        secret, browser = _shown(request)
        if not secret:
            raise Problem(
                "unauthenticated", "a token of this session is needed here",
                hint="Ask for one: POST /v1/sessions/{id}/token.",
            )  # fmt: skip
        if browser:
            self._check_origin(request, id_)
        await self._admitted(secret, id_)
        inside, way = await self._inside(id_)
        passing = Passing(
            headers=self._headers(), more=(("Authorization", f"Bearer {way.secret}"),), onwards=_onwards,
            back=_back, scheme=urlsplit(self._context.get(Address).origin_of(id_)).scheme or "http",
        )  # fmt: skip
        watch = Watch(request, functools.partial(self._still, secret))
        try:
            return await inside.answer(request, passing, silent="The session does not answer.\n")
        finally:
            watch.close()

    def _headers(self) -> dict[str, str]:
        return {
            "Content-Security-Policy": self._csp, "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
        }  # fmt: skip

    # ---------------------------------------------------------------- who

    async def _admitted(self, secret: str, id_: str) -> tokens.Admission:
        """Raises `policy_denied` for a token of another session, and what `tokens.admit` raises."""
        known, now = self._known.get(secret), time.monotonic()
        if known is None or now - known.at > _FRESH_S or known.admission.expires_at <= utcnow():
            self._known.pop(secret, None)
            admission = await asyncio.to_thread(tokens.admit, self._context, secret)
            self._known[secret] = known = Known(now, admission)
            while len(self._known) > _KNOWN:
                self._known.popitem(last=False)
        if known.admission.session_id != id_:
            raise Problem(
                "policy_denied", "this token is for another session", hint="Ask for one of this session."
            )
        return known.admission

    async def _still(self, secret: str) -> None:
        """Whether somebody who is in may stay. Raises what `tokens.admit` raises."""
        try:
            await asyncio.to_thread(tokens.admit, self._context, secret, is_in=True)
        except Problem as problem:
            if not problem.retryable:
                self._known.pop(secret, None)
            raise

    async def _follow(self, request: web.BaseRequest, id_: str, link: str) -> web.StreamResponse:
        """A browser came with a link: it gets a cookie and goes on without what it came with."""
        admission = await asyncio.to_thread(tokens.admit, self._context, link)
        if admission.session_id != id_:
            raise Problem(
                "policy_denied", "this token is for another session", hint="Ask for one of this session."
            )
        swapped = await asyncio.to_thread(tokens.PASSES.exchange, self._context, link)
        if swapped is None:
            raise Problem("token_expired", "this link was followed already", hint="Ask for another one.")
        secret, until = swapped
        path, _, query = request.raw_path.partition("?")
        rest = [(name, value) for name, value in parse_qsl(query, keep_blank_values=True) if name != "token"]
        where = f"{path}?{urlencode(rest)}" if rest else path
        secure = self._context.get(Address).origin_of(id_).startswith("https:") or _is_local(request)
        kept = f"{COOKIE}={secret}; Path={base_of(id_)}; HttpOnly; Max-Age={int((until - utcnow()).total_seconds())}"
        kept += "; SameSite=None; Secure; Partitioned" if secure else "; SameSite=Lax"
        headers = {"Location": where, "Set-Cookie": kept, "Cache-Control": "no-store", **self._headers()}
        return web.Response(status=303, headers=headers)

    def _check_host(self, request: web.BaseRequest, id_: str) -> None:
        """A name that was made to point here is not ours (DNS rebinding), and one session's name is no other's."""
        given = request.headers.get("Host", "").lower()
        own = urlsplit(self._context.get(Address).origin_of(id_)).netloc.lower()
        here = {f"{name}:{self._port}" for name in ("127.0.0.1", "localhost", "[::1]")}
        if given != own and given not in here:
            raise Problem("misdirected_request", "this is another address", hint="Ask for a link.")

    def _check_origin(self, request: web.BaseRequest, id_: str) -> None:
        """Raises `policy_denied` for what a page elsewhere has started with the cookie."""
        named = urlsplit(self._context.get(Address).origin_of(id_))
        if "." in named.netloc and label_of(id_) in named.netloc:
            given = request.headers.get("Host", "").lower()
            if given != named.netloc.lower():
                raise Problem(
                    "policy_denied", "the cookie counts at the session's own address", hint="Go there."
                )
        origin = request.headers.get("Origin")
        site = request.headers.get("Sec-Fetch-Site", "none")
        own = f"{named.scheme}://{request.headers.get('Host', '')}".lower()
        socket = request.headers.get("Upgrade", "").lower() == "websocket"
        navigates = request.headers.get("Sec-Fetch-Mode") == "navigate" and request.method in _SAFE
        foreign = origin is not None and origin.lower() != own
        missing = origin is None and (socket or request.method not in _SAFE)
        if foreign or missing or (site not in ("same-origin", "none") and not navigates):
            raise Problem(
                "policy_denied", "another site has started this", hint="Use the pages of the session itself."
            )

    # ---------------------------------------------------------------- where to

    async def _inside(self, id_: str) -> tuple[Inside, Way]:
        way = self._context.get(Keeper).way(id_)
        known = self._insides.get(id_)
        if known is not None and known[0] is not way:
            del self._insides[id_]
            await known[1].close()
            known = None
        if way is None:
            raise Problem(
                "unavailable", "this session does not run", hint="Start it again, or wait until it runs.",
                retry_after_s=1,
            )  # fmt: skip
        if known is None:
            try:
                known = self._insides[id_] = (way, Inside.at(way.door))
            except OSError:
                raise Problem("unavailable", "this session has just ended", hint="Start it again.") from None
        return known[1], way


def _session_of(path: str) -> str:
    """The session that a path as it was sent lies below. Raises `not_found`."""
    parts = path.partition("?")[0].split("/")
    if len(parts) < 4 or parts[0] or parts[1] != "s" or not parts[2].replace("_", "").isalnum():
        raise Problem("not_found", "there is nothing here", hint="Sessions are at /s/{id}/.")
    return parts[2]


def _link_of(request: web.BaseRequest) -> str | None:
    """A token in the address, where a browser goes there."""
    if request.method != "GET" or "token=" not in request.raw_path or "Authorization" in request.headers:
        return None
    found = dict(parse_qsl(request.raw_path.partition("?")[2])).get("token", "")
    return found if found.startswith(tokens.PASSES.prefix) else None


def _shown(request: web.BaseRequest) -> tuple[str, bool]:
    """The token that came along, and whether a browser sent it by itself.

    Pages of JupyterLab show the token of their own server in the header where ours would stand: beside a cookie
    of ours, that is none of our business.
    """
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    held = _cookie_of(request)
    if scheme.lower() in ("bearer", "token") and (given.strip().startswith("bos_") or not held):
        return given.strip(), False
    return held, True


def _cookie_of(request: web.BaseRequest) -> str:
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load("; ".join(request.headers.getall("Cookie", [])))
    except CookieError:
        return ""
    return jar[COOKIE].value if COOKIE in jar else ""


def _onwards(name: str, value: str) -> str | None:
    """What the server of a session sees of a header: nothing of ours."""
    if name in _NOT_ONWARDS:
        return None
    if name != "cookie":
        return value
    kept = [
        part
        for part in value.split(";")
        if not part.strip().startswith((f"{COOKIE}=", "__Host-", "__Secure-"))
    ]
    return ";".join(kept).strip() or None


def _back(name: str, value: str) -> str | None:
    """What a browser sees of a header: cookies of the session's own path and address alone."""
    if name in _NOT_BACK:
        return None
    if name != "set-cookie":
        return value
    first, *attributes = [part.strip() for part in value.split(";")]
    if first.startswith((f"{COOKIE}=", "__Host-", "__Secure-")):
        return None
    return "; ".join([first, *(part for part in attributes if not part.lower().startswith("domain"))])


def _is_local(request: web.BaseRequest) -> bool:
    host = request.headers.get("Host", "").rpartition(":")[0]
    return host.endswith(".localhost")


def told(problem: Problem) -> web.Response:
    """A problem as an answer of the door."""
    said = problem.as_dict(new_id("req"))
    headers = {"Cache-Control": "no-store", "Content-Security-Policy": "sandbox; default-src 'none'"}
    if problem.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="builderos-session"'
    return web.Response(
        status=problem.status, body=json.dumps(said).encode(), content_type="application/problem+json",
        headers=headers,
    )  # fmt: skip
