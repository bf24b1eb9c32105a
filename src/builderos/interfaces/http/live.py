"""Replies that go on while something happens: Server-Sent Events, for many clients at once and for none for ever."""

import asyncio
import contextlib
import logging
import math
from collections import Counter
from collections.abc import AsyncIterator, Generator
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from builderos.core.operations import Live
from builderos.core.problems import Problem

from .serve import Incoming
from .traffic import Traffic

log = logging.getLogger("builderos.http")
EVENTS: Final = "text/event-stream"
LAST_EVENT_ID: Final = "last-event-id"
HEARTBEAT_S: Final = 15.0
SEND_S: Final = 30.0
"""A client that takes nothing for so long is let go: it comes back where it was."""
LAST_S: Final = 300.0
"""Whoever follows for longer comes back, and is asked for its credential again."""
AT_ONCE: Final = 2000
EACH: Final = 250
_HEARTBEAT: Final = b": still here\n\n"
_RETRY: Final = b"retry: 1000\n\n"


class Streams:
    """How many there are, in all and for one credential. Belongs to the event loop."""

    def __init__(self, traffic: Traffic) -> None:
        self.traffic = traffic
        self._held = Counter[str]()

    @contextlib.contextmanager
    def take(self, who: str) -> Generator[None]:
        """A place. Raises `rate_limited` when there is none."""
        if self._held.total() >= AT_ONCE or self._held[who] >= EACH:
            raise Problem(
                "rate_limited", "too many replies of this kind are open",
                hint="Close one of them, or look from time to time instead of following.", retry_after_s=5,
                limit=EACH, used=self._held[who], resets_at=None,
            )  # fmt: skip
        self._held[who] += 1
        try:
            yield
        finally:
            self._held[who] -= 1
            if not self._held[who]:
                del self._held[who]


def streamed(streams: Streams, live: Live, incoming: Incoming) -> Response:
    """The reply for one client. Raises `rate_limited`."""
    place = contextlib.ExitStack()
    place.enter_context(streams.take(incoming.seen.who[1] if incoming.seen.who else ""))
    return _Lasting(streams.traffic, live, place)


class _Lasting(Response):
    media_type = EVENTS

    def __init__(self, traffic: Traffic, live: Live, place: contextlib.ExitStack) -> None:
        super().__init__(headers={"x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._traffic = traffic
        self._live = live
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send frames until there are no more, the client is gone or slow, the server stops, or it has been long."""
        del scope
        with self._place:
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            pumping = asyncio.ensure_future(self._pump(send))
            leaving = asyncio.ensure_future(_left(receive))
            self._traffic.lasting.add(pumping.cancel)
            try:
                await asyncio.wait({pumping, leaving}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._traffic.lasting.discard(pumping.cancel)
                gone = leaving.done()
                for task in (pumping, leaving):
                    task.cancel()
                await asyncio.wait({pumping, leaving})
            if gone or not _ended_well(pumping):
                return
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pump(self, send: Send) -> None:
        frames = self._live.frames()
        until = asyncio.get_running_loop().time() + (LAST_S if self._live.resumable else math.inf)
        coming: asyncio.Future[bytes | None] | None = None
        try:
            await _pass(send, _RETRY)
            while (left := until - asyncio.get_running_loop().time()) > 0:
                coming = coming or asyncio.ensure_future(anext(frames, None))
                done, _ = await asyncio.wait({coming}, timeout=min(left, HEARTBEAT_S))
                frame = coming.result() if done else _HEARTBEAT
                if frame is None:
                    return
                coming = None if done else coming
                await _pass(send, frame)
        finally:
            await _close(frames, coming)


async def _pass(send: Send, frame: bytes) -> None:
    async with asyncio.timeout(SEND_S):
        await send({"type": "http.response.body", "body": frame, "more_body": True})


async def _close(frames: AsyncIterator[bytes], coming: "asyncio.Future[bytes | None] | None") -> None:
    if coming is not None:
        coming.cancel()
        await asyncio.wait({coming})
    close = getattr(frames, "aclose", None)
    if close is not None:
        await close()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _ended_well(pumping: "asyncio.Future[None]") -> bool:
    """Whether the reply can be ended as a whole one; a client that is too slow is cut off."""
    if pumping.cancelled():
        return True
    error = pumping.exception()
    if error is None:
        return True
    if isinstance(error, Problem):  # the database is away: the client comes back
        log.warning("a reply that was to go on ended: %s", error.code)
        return True
    if not isinstance(error, TimeoutError):
        log.error("a reply that was to go on broke", exc_info=error)
    return False
