"""Files of a version as a web server gives them: nothing outside of their folder, nothing hidden, nothing listed."""

import asyncio
import errno
import mimetypes
import os
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import unquote_to_bytes

from aiohttp import web

from builderos.execution.compute.service import Beneath

_PIECE: Final = 256 * 1024
_INDEX: Final = "index.html"
_WELL_KNOWN: Final = ".well-known"
_TYPES: Final = mimetypes.MimeTypes()  # without the machine's own files: the same answer on every machine
for _ending, _type in {
    ".js": "text/javascript", ".mjs": "text/javascript", ".webp": "image/webp", ".avif": "image/avif",
    ".woff": "font/woff", ".woff2": "font/woff2", ".wasm": "application/wasm", ".md": "text/markdown",
    ".webmanifest": "application/manifest+json",
}.items():  # fmt: skip
    _TYPES.add_type(_type, _ending)  # which Pythons know differently, or not at all
_ABSENT: Final = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.EINVAL, errno.ENAMETOOLONG}
)
_TEXT: Final = frozenset({"application/javascript", "application/json", "image/svg+xml", "application/xml"})


class Found:
    """A file that answers, and with which status."""

    def __init__(self, path: str, file: BinaryIO, status: int) -> None:
        self.path = path
        self.file = file
        self.status = status
        self.size = os.fstat(file.fileno()).st_size


class Files:
    """The files of one version below a folder; `fallback` answers for paths that are not there.

    They do not change, so that one hash of their path and the version is their tag.
    """

    def __init__(self, ref: str, folder: Path, fallback: str = "") -> None:
        self._ref = ref
        self._fallback = fallback
        self._beneath = Beneath(folder)

    def close(self) -> None:
        """Let go of the folder."""
        self._beneath.__exit__()

    def look(self, path: str) -> int:
        """The status that a path answers with."""
        found = self._find(path)
        if isinstance(found, Found):
            found.file.close()
            return found.status
        return found[0]

    async def answer(
        self, request: web.BaseRequest, headers: dict[str, str], below: str = ""
    ) -> web.StreamResponse:
        """What a request gets; `headers` go along with it. `below`: the path that stands for the folder."""
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, headers={**headers, "Allow": "GET, HEAD"})
        found = self._find(request.raw_path.partition("?")[0].removeprefix(below))
        if not isinstance(found, Found):
            status, place = found
            more = {"Location": place} if place else {}
            text = "" if place else "Not found.\n"
            return web.Response(status=status, headers={**headers, **more}, text=text)
        with found.file:
            return await self._give(request, found, headers)

    async def _give(
        self, request: web.BaseRequest, found: Found, headers: dict[str, str]
    ) -> web.StreamResponse:
        name = f"{self._ref}\n{found.path}".encode()
        tag = f'"{sha256(name).hexdigest()[:32]}"'
        told = {"X-Content-Type-Options": "nosniff", "ETag": tag, "Cache-Control": "no-cache"}
        headers = {**headers, **told, "Content-Type": type_of(found.path)}
        if found.status == 200 and tag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        response = web.StreamResponse(status=found.status, headers=headers)
        response.content_length = found.size
        await response.prepare(request)
        left = found.size if request.method == "GET" else 0
        while left > 0:
            piece = await asyncio.to_thread(found.file.read, min(_PIECE, left))
            if not piece:
                break
            left -= len(piece)
            await response.write(piece)
        await response.write_eof()
        return response

    def _find(self, raw: str) -> "Found | tuple[int, str]":
        """The file for a path as it was sent, or a status with where to go instead."""
        path = _plain(raw)
        if path is None:
            return 404, ""
        name = f"{path}{_INDEX}" if path == "" or path.endswith("/") else path
        file = self._open(name)
        if file is None and name == path and self._has(f"{path}/{_INDEX}"):
            return 308, raw.partition("?")[0].rstrip("/").rpartition("/")[2] + "/"
        if file is None and self._fallback:
            name, file = self._fallback, self._open(self._fallback)
            return Found(name, file, 200) if file is not None else (404, "")
        if file is None:
            missing = self._open("404.html")
            return Found("404.html", missing, 404) if missing is not None else (404, "")
        return Found(name, file, 200)

    def _has(self, name: str) -> bool:
        file = self._open(name)
        if file is not None:
            file.close()
        return file is not None

    def _open(self, name: str) -> BinaryIO | None:
        try:
            return self._beneath.open(name)
        except OSError as error:
            if error.errno not in _ABSENT and not isinstance(error, IsADirectoryError):
                raise
            return None


def _plain(raw: str) -> str | None:
    """A path as it was sent, as names below the folder; None where it could mean anything else."""
    try:
        path = unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        return None
    if not path.startswith("/") or "\\" in path or any(ord(char) < 32 or ord(char) == 127 for char in path):
        return None
    parts = path[1:].split("/")
    for at, part in enumerate(parts):
        if part.startswith(".") and not (at == 0 and part == _WELL_KNOWN):
            return None
        if part == "" and at != len(parts) - 1:
            return None
    return path[1:]


def type_of(path: str) -> str:
    """The media type by the name alone; text is Unicode."""
    found = _TYPES.guess_type(path)
    if found[0] is None or found[1] is not None:
        return "application/octet-stream"
    return f"{found[0]}; charset=utf-8" if found[0].startswith("text/") or found[0] in _TEXT else found[0]
