"""Serves the console's files: assets under names that are hashes, and one page for every address of the console.

Assets were compressed when they were built and never change. Which ones there are is looked up when the page is another
one than before: a console that was built anew is served without a restart, and no request looks for a file. The page is
small, never kept by a browser, and the same for everybody but for one word: whether a session cookie came along, so
that a visitor without one is asked nothing.
"""

import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from builderos.core.application import Application
from builderos.interfaces.http.cookies import READS, Cookies

DIST: Final = Path(__file__).parent / "dist"
ASSETS: Final = "/assets/"
# First parts of addresses below which nothing is ever a page: what is unknown there is told in the API's own words.
CALLS: Final = frozenset({"v1", "git", "mcp", "gpt", "oauth", "assets", ".well-known"})
CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "font-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
PAGE: Final = {
    "content-security-policy": CSP, "cache-control": "no-cache", "vary": "accept, cookie",
    "cross-origin-opener-policy": "same-origin", "x-frame-options": "DENY",
}  # fmt: skip
FOREVER: Final = {"cache-control": "public, max-age=31536000, immutable", "vary": "accept-encoding"}
ENCODINGS: Final = (("br", ".br"), ("gzip", ".gz"))
COOKIE_UNKNOWN: Final = b'name="builderos-cookie" content="unknown"'
MISSING: Final = b"""<!doctype html><html lang="en"><meta charset="utf-8"><title>BuilderOS</title>
<p>The console was not built on this server. <code>make setup</code> builds it. The API answers as ever.</p></html>
"""


@dataclass(frozen=True)
class Asset:
    """A built file, with the forms that it lies in: encoding and path, the best first."""

    kind: str
    plain: Path
    forms: tuple[tuple[str, Path], ...]

    def best(self, accepted: str) -> tuple[str, Path]:
        """The encoding to answer with, empty for none, and the file."""
        taken = {
            part.partition(";")[0].strip()
            for part in accepted.lower().split(",")
            if "q=0" not in part.replace(" ", "")
        }
        return next(((name, path) for name, path in self.forms if name in taken), ("", self.plain))


def assets_of(dist: Path) -> dict[str, Asset]:
    """Every asset by its name; empty where nothing was built."""
    folder = dist / ASSETS.strip("/")
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set[str]()
    endings = tuple(ending for _, ending in ENCODINGS)
    found: dict[str, Asset] = {}
    for name in sorted(name for name in names if not name.endswith(endings)):
        forms = tuple(
            (code, folder / (name + ending)) for code, ending in ENCODINGS if name + ending in names
        )
        kind = {".js": "text/javascript"}.get(Path(name).suffix) or mimetypes.guess_type(name)[0]
        found[name] = Asset(kind or "application/octet-stream", folder / name, forms)
    return found


class Console:
    """ASGI middleware before the routes of the API: answers what is the console's, and passes everything else on."""

    def __init__(self, app: ASGIApp, api: FastAPI, application: Application, dist: Path = DIST) -> None:
        self._app = app
        self._api = api
        self._context = application.context
        self._dist = dist
        self._assets = assets_of(dist)
        self._built = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        reply = await self._reply(scope) if scope["type"] == "http" and scope["method"] in READS else None
        await (self._app if reply is None else reply)(scope, receive, send)

    async def _reply(self, scope: Scope) -> Response | None:
        path, headers = scope["path"], Headers(scope=scope)
        if path.startswith(ASSETS):
            asset = self._assets.get(path.removeprefix(ASSETS))
            return await _file(asset, headers) if asset is not None else None
        if "text/html" not in headers.get("accept", "") or not self._is_page(scope, path):
            return None
        return await self._page(headers)

    def _is_page(self, scope: Scope, path: str) -> bool:
        """Whether a browser that goes there wants the console: no call and no other page has this address."""
        if path == "/":
            return True
        parts = path.split("/")
        if parts[1] in CALLS or "." in parts[-1]:
            return False
        return all(route.matches(scope)[0] is Match.NONE for route in self._api.router.routes)

    async def _page(self, headers: Headers) -> Response:
        page = anyio.Path(self._dist / "index.html")
        try:
            text = await page.read_bytes()
        except FileNotFoundError:
            return Response(MISSING, 503, PAGE, "text/html")
        if text != self._built:  # the console was built anew: the page names other assets than before
            self._assets = await anyio.to_thread.run_sync(assets_of, self._dist)
            self._built = text
        known = b"some" if self._context.get(Cookies).session(headers) else b"none"
        text = text.replace(COOKIE_UNKNOWN, COOKIE_UNKNOWN.replace(b"unknown", known))
        return Response(text, 200, PAGE, "text/html")


async def _file(asset: Asset, headers: Headers) -> Response:
    encoding, path = asset.best(headers.get("accept-encoding", ""))
    more = {"content-encoding": encoding} if encoding else {}
    return Response(await anyio.Path(path).read_bytes(), 200, FOREVER | more, asset.kind)


def add_console(api: FastAPI, app: Application) -> None:
    """Add the console around the routes that are there, and those that come."""
    api.add_middleware(Console, api=api, application=app)
