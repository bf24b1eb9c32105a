"""Downloads that can be taken in parts: Range, If-Range, If-None-Match (RFC 9110 §13, §14)."""

import re
from collections.abc import Iterator
from itertools import chain
from typing import Final

import anyio
from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from builderos.core.operations import Download
from builderos.core.problems import Problem

_RANGE: Final = re.compile(r"bytes=(\d{0,19})-(\d{0,19})\Z")


async def reply(
    request: Request, status: int, download: Download, limiter: anyio.CapacityLimiter
) -> Response:
    """The whole, the part that was asked for, or word that the caller has it already.

    The beginning is read before the reply begins: what is wrong with it is told as a problem.
    """
    assert download.size is not None
    headers = {"content-disposition": f'attachment; filename="{download.filename}"', "accept-ranges": "bytes"}
    if download.etag is not None:
        headers["etag"] = download.etag
        if _knows(request.headers.get("if-none-match"), download.etag):
            return Response(status_code=304, headers=headers)
    wanted = _wanted(request, download.size, download.etag)
    start, stop = wanted or (0, download.size)
    headers["content-length"] = str(stop - start)
    if wanted is not None:
        status = 206
        headers["content-range"] = f"bytes {start}-{stop - 1}/{download.size}"
    chunks = download.part(start, stop) if download.part is not None else download.chunks
    primed = await anyio.to_thread.run_sync(_primed, chunks, limiter=limiter)
    return StreamingResponse(primed, status, headers, download.media_type)


def _primed(chunks: Iterator[bytes]) -> Iterator[bytes]:
    first = next(chunks, None)
    return chunks if first is None else chain((first,), chunks)


def _knows(sent: str | None, etag: str) -> bool:
    if sent is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in sent.split(",")]
    return "*" in tags or etag in tags


def _wanted(request: Request, size: int, etag: str | None) -> tuple[int, int] | None:
    """From and to (exclusive) of the one range that was asked for; None: all. Several ranges are answered by all.

    Raises `range_not_satisfiable`.
    """
    found = _RANGE.match(request.headers.get("range", "").strip())
    condition = request.headers.get("if-range")
    if found is None or found[0] == "bytes=-" or (condition is not None and condition.strip() != etag):
        return None
    first, last = found[1], found[2]
    if not first:
        start, stop = max(size - int(last), 0), size
        nothing = int(last) == 0 or size == 0
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
        nothing = start >= size
    if nothing:
        raise Problem(
            "range_not_satisfiable",
            f"there are {size} bytes",
            hint="Ask for bytes that are there.",
            size=size,
        )
    return start, stop
