"""The door to apps: each at a name of its own, for whom its policy lets in.

A program shows its token in the header Authorization. A browser follows a link with `?token=`, once, and gets a cookie
for that name alone. An app that is open to all asks nobody. What was shown here never reaches the app: that is told who
asks, in headers that nobody outside can set.
"""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

from aiohttp import web

from builderos.core.clock import utcnow
from builderos.core.context import Context
from builderos.core.ids import is_id
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.execution.serving.service import Inside, Passing, TooLarge
from builderos.workloads.apps.service import Instance, Keeper, tokens
from builderos.workloads.sessions.ports import Address

from .guarding import told

COOKIES: Final = ("__Host-bos_app", "bos_app")
ACTOR: Final = "X-BuilderOS-Actor"
ROLE: Final = "X-BuilderOS-Role"
RELEASE: Final = "X-BuilderOS-Release"
MOST_BODY: Final = 1 << 30
_LABEL: Final = "app-"
_FRESH_S: Final = 5.0
_KNOWN: Final = 5000
_MOST: Final = 256  # requests and sockets of one app at once
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_NOT_BACK: Final = frozenset({
    "server", "clear-site-data", "strict-transport-security", "alt-svc", "report-to", "nel", "service-worker-allowed",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Shown:
    """The token that came along, and whether a browser sent it by itself."""

    secret: str
    browser: bool


class AppDoor:
    """Lives on the loop of the door."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._admissions: OrderedDict[str, tuple[float, tokens.Admission]] = OrderedDict()
        self._doors: OrderedDict[str, tuple[float, tokens.AtDoor | None]] = OrderedDict()
        self._lines: dict[str, tuple[Instance, Inside]] = {}
        self._open: dict[str, int] = {}
        self._console = context.get(Settings).address

    def app_of(self, request: web.BaseRequest) -> str | None:
        """The app whose own name was asked for; a name that was made to point here is none of ours (DNS rebinding)."""
        given = request.headers.get("Host", "").lower()
        if not given.startswith(_LABEL):
            return None
        label = given.partition(".")[0]
        id_ = "app_" + label.removeprefix(_LABEL).upper()
        return id_ if is_id(id_, "app") and given == self._origin(id_).netloc.lower() else None

    async def close(self) -> None:
        """Cut all lines to apps."""
        lines, self._lines = self._lines, {}
        for _, inside in lines.values():
            await inside.close()

    async def answer(self, request: web.BaseRequest, id_: str) -> web.StreamResponse:
        """What a request gets."""
        try:
            return await self._answer(request, id_)
        except TooLarge:
            return told(Problem(
                "payload_too_large", f"a body may have {MOST_BODY} bytes", hint="Send it in parts.", limit=MOST_BODY
            ))  # fmt: skip
        except Problem as problem:
            if problem.status == 401 and _navigates(request):
                return self._sent_to_console(request, id_)
            return told(problem)

    async def _answer(self, request: web.BaseRequest, id_: str) -> web.StreamResponse:
        at = await self._at_door(id_)
        if at is None:
            raise Problem("not_found", "there is nothing here", hint="Ask whoever gave you this address.")
        link = _link_of(request)
        if link is not None:
            return await self._follow(request, id_, link)
        admission = await self._admitted(request, id_, open_to_all=at.open_to_all)
        if self._open.get(id_, 0) >= _MOST:
            raise Problem("unavailable", "too many ask this app at once", hint="Try again.", retry_after_s=1)
        self._open[id_] = self._open.get(id_, 0) + 1
        try:
            instance = await self._entered(at.org_id, id_)
            try:
                return await self._passed_on(request, id_, instance, admission, framed=at.open_to_all)
            finally:
                await self._left(instance)
        finally:
            self._open[id_] -= 1
            if not self._open[id_]:
                del self._open[id_]

    # ---------------------------------------------------------------- who

    async def _at_door(self, id_: str) -> tokens.AtDoor | None:
        known, now = self._doors.get(id_), time.monotonic()
        if known is None or now - known[0] > _FRESH_S:
            at = await asyncio.to_thread(tokens.at_door, self._context, id_)
            self._doors[id_] = known = (now, at)
            self._doors.move_to_end(id_)
            while len(self._doors) > _KNOWN:
                self._doors.popitem(last=False)
        return known[1]

    async def _admitted(
        self, request: web.BaseRequest, id_: str, *, open_to_all: bool
    ) -> tokens.Admission | None:
        """Who asks; None for anybody, where the app is open to all. Raises what `tokens.admit` raises."""
        shown = _shown(request)
        if not shown.secret:
            if open_to_all:
                return None
            raise Problem(
                "unauthenticated", "a token of this app is needed here", hint="POST /v1/apps/{id}/token."
            )
        try:
            if shown.browser:
                self._check_origin(request, id_)
            return await self._known(shown.secret, id_)
        except Problem:
            if open_to_all and shown.browser:  # what is over, or started elsewhere, counts as nobody's
                return None
            raise

    async def _known(self, secret: str, id_: str) -> tokens.Admission:
        known, now = self._admissions.get(secret), time.monotonic()
        if known is None or now - known[0] > _FRESH_S or known[1].expires_at <= utcnow():
            self._admissions.pop(secret, None)
            admission = await asyncio.to_thread(tokens.admit, self._context, secret)
            self._admissions[secret] = known = (now, admission)
            while len(self._admissions) > _KNOWN:
                self._admissions.popitem(last=False)
        if known[1].app_id != id_:
            raise Problem("policy_denied", "this token is for another app", hint="Ask for one of this app.")
        return known[1]

    async def _follow(self, request: web.BaseRequest, id_: str, link: str) -> web.StreamResponse:
        """A browser came with a link: it gets a cookie and goes on without what it came with."""
        admission = await asyncio.to_thread(tokens.admit, self._context, link)
        if admission.app_id != id_:
            raise Problem("policy_denied", "this token is for another app", hint="Ask for one of this app.")
        swapped = await asyncio.to_thread(tokens.PASSES.exchange, self._context, link)
        if swapped is None:
            raise Problem("token_expired", "this link was followed already", hint="Ask for another one.")
        secret, until = swapped
        origin = self._origin(id_)
        path, _, query = request.raw_path.partition("?")
        rest = [(name, value) for name, value in parse_qsl(query, keep_blank_values=True) if name != "token"]
        # With its origin: a path that begins with // would be another host.
        where = f"{origin.scheme}://{origin.netloc}{path}" + (f"?{urlencode(rest)}" if rest else "")
        secure = origin.scheme == "https" or (origin.hostname or "").endswith(".localhost")
        kept = f"{COOKIES[0] if secure else COOKIES[1]}={secret}; Path=/; HttpOnly"
        kept += f"; Max-Age={int((until - utcnow()).total_seconds())}"
        kept += "; SameSite=None; Secure; Partitioned" if secure else "; SameSite=Lax"
        headers = {
            "Location": where, "Set-Cookie": kept, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
        }  # fmt: skip
        return web.Response(status=303, headers=headers)

    def _check_origin(self, request: web.BaseRequest, id_: str) -> None:
        """Raises `policy_denied` for what a page elsewhere has started with the cookie (RFC 6265 §8.8)."""
        named = self._origin(id_)
        origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site", "none")
        upgrades = request.headers.get("Upgrade", "").lower() == "websocket"
        foreign = origin is not None and origin.lower() != f"{named.scheme}://{named.netloc}".lower()
        missing = origin is None and (upgrades or request.method not in _SAFE)
        goes = request.headers.get("Sec-Fetch-Mode") == "navigate" and request.method in _SAFE
        if foreign or missing or (site not in ("same-origin", "none") and not goes):
            raise Problem(
                "policy_denied", "another site has started this", hint="Use the pages of the app itself."
            )

    def _sent_to_console(self, request: web.BaseRequest, id_: str) -> web.Response:
        """Whoever typed the address signs in at the console, which brings them back with a link."""
        path = request.raw_path if request.raw_path.startswith("/") else "/"
        where = f"{self._console}/apps/{id_}/open?path={quote(path, safe='')}"
        return web.Response(status=303, headers={"Location": where, "Cache-Control": "no-store"})

    # ---------------------------------------------------------------- where to

    async def _entered(self, org_id: str, id_: str) -> Instance:
        """What answers, once something does. Raises `unavailable`."""
        keeper = self._context.get(Keeper)
        while (instance := keeper.enter(id_)) is None:
            await asyncio.shield(asyncio.wrap_future(keeper.wake(org_id, id_)))
        return instance

    async def _left(self, instance: Instance) -> None:
        last = self._context.get(Keeper).leave(instance)
        line = self._lines.get(instance.key)
        if last and line is not None and instance.door is None:
            del self._lines[instance.key]
            await line[1].close()

    async def _passed_on(
        self, request: web.BaseRequest, id_: str, instance: Instance, admission: tokens.Admission | None, *,
        framed: bool,
    ) -> web.StreamResponse:  # fmt: skip
        base = str(instance.recipe.spec["base_path"])
        path = request.raw_path.partition("?")[0]
        if path != base and not path.startswith(f"{base}/"):
            if path != "/":
                raise Problem("not_found", "there is nothing here", hint=f"The app is at {base}/.")
            return web.Response(status=307, headers={"Location": f"{base}/", "Cache-Control": "no-store"})
        told_ = {RELEASE: instance.recipe.id}
        csp = () if framed else (("Content-Security-Policy", f"frame-ancestors 'self' {self._console}"),)
        if instance.files is not None:
            return await instance.files.answer(request, {**told_, **dict(csp)}, below=base)
        inside = await self._inside(instance)
        who = ((ACTOR, admission.actor), (ROLE, admission.role)) if admission is not None else ()
        passing = Passing(
            headers=told_, more=who, onwards=_onwards, back=_back, scheme=self._origin(id_).scheme or "http",
            beside=csp, most=MOST_BODY,
        )  # fmt: skip
        return await inside.answer(request, passing, silent="The app does not answer.\n")

    async def _inside(self, instance: Instance) -> Inside:
        known = self._lines.get(instance.key)
        if known is not None:
            return known[1]
        gone = [key for key, (one, _) in self._lines.items() if one.door is None and not one.inside]
        for key in gone:
            await self._lines.pop(key)[1].close()
        door = instance.door
        try:
            if door is None:
                raise FileNotFoundError
            inside = Inside.at(door)
        except OSError:
            raise Problem(
                "unavailable", "this app has just ended", hint="Try again.", retry_after_s=1
            ) from None
        self._lines[instance.key] = (instance, inside)
        return inside

    def _origin(self, id_: str) -> SplitResult:
        return urlsplit(self._context.get(Address).origin_of(id_))


def _navigates(request: web.BaseRequest) -> bool:
    """Whether a person looks at the answer."""
    mode = request.headers.get("Sec-Fetch-Mode")
    wants = "text/html" in request.headers.get("Accept", "")
    return (
        request.method == "GET"
        and "Authorization" not in request.headers
        and wants
        and mode in (None, "navigate")
    )


def _link_of(request: web.BaseRequest) -> str | None:
    """A token in the address, where a browser goes there."""
    if (
        request.method != "GET"
        or "token=" not in request.raw_path
        or _is_ours(request.headers.get("Authorization", ""))
    ):
        return None
    found = dict(parse_qsl(request.raw_path.partition("?")[2])).get("token", "")
    return found if found.startswith(tokens.PASSES.prefix) else None


def _shown(request: web.BaseRequest) -> _Shown:
    """What came along. Any other Authorization is the app's own business."""
    given = request.headers.get("Authorization", "")
    if _is_ours(given):
        return _Shown(given.partition(" ")[2].strip(), browser=False)
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load("; ".join(request.headers.getall("Cookie", [])))
    except CookieError:
        return _Shown("", browser=True)
    return _Shown(next((jar[name].value for name in COOKIES if name in jar), ""), browser=True)


def _is_ours(given: str) -> bool:
    """Whether a header Authorization holds a credential of this server, whatever it is good for."""
    return given.partition(" ")[2].strip().startswith("bos_")


def _is_our_cookie(part: str) -> bool:
    name = part.strip().partition("=")[0].strip()
    return name in COOKIES or name == "bos_session" or name.startswith(("__Host-bos", "__Secure-bos"))


def _onwards(name: str, value: str) -> str | None:
    """What an app sees of a header: nothing of ours, and nothing that only we may say."""
    if name.startswith("x-builderos-") or (name == "authorization" and _is_ours(value)):
        return None
    if name != "cookie":
        return value
    return ";".join(part for part in value.split(";") if not _is_our_cookie(part)).strip() or None


def _back(name: str, value: str) -> str | None:
    """What a browser sees of a header: cookies of the app's own name alone, and none of ours."""
    if name in _NOT_BACK or name.startswith("x-builderos-"):
        return None
    if name != "set-cookie":
        return value
    first, *attributes = [part.strip() for part in value.split(";")]
    if _is_our_cookie(first):
        return None
    return "; ".join([first, *(part for part in attributes if not part.lower().startswith("domain"))])
