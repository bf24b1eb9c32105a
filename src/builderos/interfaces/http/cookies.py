"""Cookies of browsers: the session, and the nonce of a sign-in. Both are `__Host-`: of this host, path /, secure.

A cookie travels with every request, also with those that another site starts. So it is a credential only where the
request provably comes from a page of ours: for anything but a read, the Origin is this server's own and the header
`X-CSRF-Token` holds what only such a page could read. Fetch metadata (`Sec-Fetch-Site`) decides nothing.
"""

import base64
import hmac
import re
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from builderos.core.keys import ServerKeys
from builderos.core.settings import Settings

SESSION: Final = "__Host-bos"
BROWSER: Final = "__Host-bos_browser"
NEXT: Final = "__Host-bos_next"
CSRF_HEADER: Final = "x-csrf-token"
READS: Final = frozenset({"GET", "HEAD"})
# Other clients' doors; signing in looks by itself. Tools such as /git/log are for pages, too, repositories are not.
NO_COOKIES: Final = ("/mcp", "/gpt/", "/v1/auth/", "/oauth/", "/mlflow/")
_REPOSITORY: Final = re.compile(r"/git/(?:[^/]*/)*[^/]*\.git/")
_SECRET: Final = re.compile(r"bos_cs_[0-9A-Za-z]{43}")
_NONCE: Final = re.compile(r"[0-9A-Za-z]{43}")
_WAY: Final = re.compile(r"[0-9A-Za-z_-]{1,3800}")
# Where a browser may go on to after signing in: pages of ours that ask a person, nothing else.
_PAGES: Final = re.compile(r"/(?:oauth/authorize|device)(?:\?[!-~]*)?")


class Cookies:
    """Reads and makes the cookies of one server."""

    def __init__(self, keys: ServerKeys, settings: Settings) -> None:
        self._key = keys.derive("csrf")
        self._settings = settings

    def csrf(self, secret: str) -> str:
        """The token that belongs to a session's cookie: 64 hex digits."""
        return hmac.digest(self._key, secret.encode(), "sha256").hex()

    def session(self, headers: Headers) -> str | None:
        """The session's secret as the cookie holds it, unproven."""
        return _read(headers, SESSION, _SECRET)

    def browser(self, headers: Headers) -> str | None:
        """The nonce of a sign-in that began in this browser."""
        return _read(headers, BROWSER, _NONCE)

    def seal(self, secret: str, purpose: str) -> str:
        """What a form of ours carries to prove that the session saw exactly this page: 64 hex digits."""
        return hmac.digest(self._key, f"{secret}|{purpose}".encode(), "sha256").hex()

    def is_seal(self, sent: str, secret: str, purpose: str) -> bool:
        """Whether a form carries that proof."""
        wanted = self.seal(secret, purpose).encode()
        return hmac.compare_digest(sent.encode("utf-8", "replace"), wanted)

    def way_on(self, headers: Headers) -> str | None:
        """The page of ours, as path and query, that a browser was on its way to before it had to sign in."""
        found = _read(headers, NEXT, _WAY)
        if found is None:
            return None
        try:
            page = base64.urlsafe_b64decode(found + "=" * (-len(found) % 4)).decode("ascii")
        except ValueError:
            return None
        return page if _PAGES.fullmatch(page) else None

    @staticmethod
    def keep_way(page: str) -> str | None:
        """A Set-Cookie header that remembers such a page for a sign-in; None for any other, or a much too long one."""
        kept = base64.urlsafe_b64encode(page.encode("utf-8", "replace")).rstrip(b"=").decode()
        if not _PAGES.fullmatch(page) or not _WAY.fullmatch(kept):
            return None
        return Cookies.header(NEXT, kept, 900)

    def credential(self, scope: Scope, headers: Headers) -> str | None:
        """The cookie's secret where it counts as the request's credential, else None."""
        secret = self.session(headers)
        if secret is None or scope["path"].startswith(NO_COOKIES) or _REPOSITORY.match(scope["path"]):
            return None
        if scope["method"] in READS and not headers.get("origin"):
            return secret
        return secret if self.is_ours(scope, headers, secret) else None

    def is_ours(self, scope: Scope, headers: Headers, secret: str) -> bool:
        """Whether a page of this server sent the request: right Origin and right token."""
        sent = headers.get(CSRF_HEADER, "")
        return self.same_origin(scope, headers) and hmac.compare_digest(
            sent.encode("utf-8", "replace"), self.csrf(secret).encode()
        )

    def same_origin(self, scope: Scope, headers: Headers) -> bool:
        """Whether the Origin is this server. A request without one is not: every browser sends it with a write."""
        return headers.get("origin", "") in self._origins(scope, headers)

    def _origins(self, scope: Scope, headers: Headers) -> set[str]:
        if self._settings.public_url is not None:
            at = urlsplit(self._settings.public_url)
            return {f"{at.scheme}://{at.netloc}"}
        return {f"{scope['scheme']}://{headers.get('host', '')}"}

    @staticmethod
    def header(name: str, value: str, seconds: int) -> str:
        """A Set-Cookie header; `seconds` 0 removes the cookie."""
        # Lax: the way back from a provider is a navigation that another site starts.
        return f"{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={seconds}"


def _read(headers: Headers, name: str, form: re.Pattern[str]) -> str | None:
    try:
        jar = SimpleCookie("; ".join(headers.getlist("cookie")))
    except CookieError:
        return None
    value = jar[name].value if name in jar else ""
    return value if form.fullmatch(value) else None
