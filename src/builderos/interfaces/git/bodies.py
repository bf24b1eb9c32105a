"""Request bodies of git clients: inflated where they are gzipped, bounded in bytes and in patience."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from typing import Final

from starlette.requests import Request

from builderos.core.problems import Problem

IDLE_S: Final = 60.0
_PIECE: Final = 1 << 16


class Body:
    """A request body as a stream of plain bytes.

    Raises `validation_failed` for a broken encoding or a client that falls silent, `payload_too_large` past `limit`.
    """

    def __init__(self, request: Request, limit: int, idle_s: float = IDLE_S) -> None:
        self._chunks = _patiently(request.stream(), idle_s)
        encoding = request.headers.get("content-encoding", "identity")
        if encoding in ("gzip", "x-gzip"):
            self._chunks = _inflated(self._chunks)
        elif encoding != "identity":
            raise Problem(
                "unsupported_media_type",
                f"the body is encoded as {encoding[:40]}",
                hint="Send it plain or gzipped.",
            )
        self._limit = limit
        self._held = b""

    async def _next(self) -> bytes:
        """Some more bytes; none at the end."""
        async for chunk in self._chunks:
            if not chunk:
                continue
            self._limit -= len(chunk)
            if self._limit < 0:
                raise Problem("payload_too_large", "the request is too large", hint="Ask for less at a time.")
            return chunk
        return b""

    async def exactly(self, size: int) -> bytes:
        """`size` bytes; fewer only where the body ends."""
        parts = [self._held]
        have = len(self._held)
        while have < size and (chunk := await self._next()):
            parts.append(chunk)
            have += len(chunk)
        data = b"".join(parts)
        self._held = data[size:]
        return data[:size]

    async def rest(self) -> AsyncIterator[bytes]:
        """What is left, in pieces."""
        if self._held:
            held, self._held = self._held, b""
            yield held
        while chunk := await self._next():
            yield chunk

    async def whole(self) -> bytes:
        """What is left, in one piece."""
        return b"".join([chunk async for chunk in self.rest()])


async def _patiently(chunks: AsyncIterator[bytes], idle_s: float) -> AsyncIterator[bytes]:
    while True:
        try:
            async with asyncio.timeout(idle_s):
                chunk = await anext(chunks, None)
        except TimeoutError:
            raise Problem(
                "validation_failed",
                f"nothing arrived for {idle_s:.0f} s",
                hint="Try again on a better connection.",
            ) from None
        if chunk is None:
            return
        yield chunk


async def _inflated(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The plain bytes of a gzip stream, never more than a piece at a time whatever it unfolds to."""
    inflater = zlib.decompressobj(wbits=31)
    async for chunk in chunks:
        data = chunk
        while data and not inflater.eof:
            try:
                plain = inflater.decompress(data, _PIECE)
            except zlib.error:
                raise _broken() from None
            data = inflater.unconsumed_tail
            if plain:
                yield plain
    if not inflater.eof:
        raise _broken()


def _broken() -> Problem:
    return Problem("validation_failed", "the gzipped body is broken", hint="Try again.")
