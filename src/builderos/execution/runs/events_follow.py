"""Following runs: one listener and one reader per run and process, however many clients follow.

NOTIFY only wakes. What a client gets is read from the table behind the number that it has seen last, so nothing is
lost or doubled, whatever happens to the listener, and a slow client costs no memory: it reads when it is ready.
"""

import asyncio
import json
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import Final

import anyio
import anyio.to_thread
import psycopg

from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.listening import listening
from builderos.core.problems import Problem
from builderos.core.unit import as_system

from .events import CHANNEL, Event, read

log = logging.getLogger("builderos.runs")
ENDED: Final = "run.ended"
PAGE: Final = 500
_KEPT: Final = 1000  # events of one run that are held for those who follow closely
_RECHECK_S: Final = 5.0
_IDLE_S: Final = 30.0
_PAUSE_S: Final = 1.0
_READERS: Final = 2
_Key = tuple[str, str]


@dataclass
class _Channel:
    """One run that is followed: its newest events and who waits for more."""

    key: _Key
    recent: deque[Event] = field(default_factory=lambda: deque[Event](maxlen=_KEPT))
    head: int = 0  # the newest number that was read
    told: int = 0  # the newest number that was heard of
    followers: int = 0
    stale: bool = True  # whether there may be more than was read or heard of
    looked_at: float = 0.0
    news: asyncio.Event = field(default_factory=asyncio.Event)
    reading: "asyncio.Task[None] | None" = None

    def behind(self, after: int) -> list[Event] | None:
        """What is held behind a number; None where older ones are wanted than are held."""
        if after >= self.head:
            return []
        if not self.recent or self.recent[0].seq > after + 1:
            return None
        first = self.recent[0].seq
        return [self.recent[i] for i in range(max(0, after + 1 - first), len(self.recent))]

    def wake(self) -> None:
        """Everybody looks again."""
        self.news.set()
        self.news = asyncio.Event()


class Followers:
    """The followers of one process. Belongs to the event loop that first follows something."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._loop: asyncio.AbstractEventLoop | None = None
        self._channels: dict[_Key, _Channel] = {}
        self._listener: asyncio.Task[None] | None = None
        self._threads: anyio.CapacityLimiter | None = None

    async def follow(
        self, org_id: str, run_id: str, after: int, *, ended: bool
    ) -> AsyncGenerator[list[Event]]:
        """Events behind number `after` as they come; the generator ends behind `run.ended`.

        `ended`: the run is over, so there will be no more than there are.
        """
        channel = self._enter((org_id, run_id))
        try:
            async for events in self._batches(channel, after, ended=ended):
                yield events
        finally:
            self._leave(channel)

    async def _batches(self, channel: _Channel, after: int, *, ended: bool) -> AsyncGenerator[list[Event]]:
        while True:
            news = channel.news
            events = await self._next(channel, after)
            if (
                not events and ended
            ):  # what is held may be behind: what was said last may not have been heard yet
                events = await self._read(channel.key, after)
            if events:
                after = events[-1].seq
                yield events
                if events[-1].type == ENDED:
                    return
            elif ended:
                return
            elif not await _within(news, _RECHECK_S):
                self._doubt(channel)

    def _doubt(self, channel: _Channel) -> None:
        """A word may have been lost: look again, once for all who wait."""
        if asyncio.get_running_loop().time() - channel.looked_at >= _RECHECK_S:
            channel.stale = True

    async def _next(self, channel: _Channel, after: int) -> list[Event]:
        held = channel.behind(after)
        if held == [] and (channel.stale or channel.told > channel.head):
            await self._refresh(channel)
            held = channel.behind(after)
        return await self._read(channel.key, after) if held is None else held[:PAGE]

    async def _refresh(self, channel: _Channel) -> None:
        """Read what is new, once for all who wait for it."""
        if channel.reading is None or channel.reading.done():
            channel.reading = asyncio.ensure_future(self._catch_up(channel))
        await asyncio.shield(channel.reading)

    async def _catch_up(self, channel: _Channel) -> None:
        channel.stale = False
        channel.looked_at = asyncio.get_running_loop().time()
        first = not channel.recent
        events = await self._read(channel.key, channel.head, newest=first)
        channel.recent.extend(events)
        if events:
            channel.head = events[-1].seq
            channel.stale = channel.stale or (not first and len(events) == PAGE)
            channel.wake()

    async def _read(self, key: _Key, after: int, *, newest: bool = False) -> list[Event]:
        org_id, run_id = key
        limit = _KEPT if newest else PAGE

        def reading() -> list[Event]:
            return as_system(
                self._context, org_id,
                lambda unit: read(unit, run_id, after=after, limit=limit, newest=newest), read_only=True,
                settled=True,
            )  # fmt: skip

        assert self._threads is not None
        return await anyio.to_thread.run_sync(reading, limiter=self._threads)

    # ------------------------------------------------------------ who follows what

    def _enter(self, key: _Key) -> _Channel:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # tests and reloads: what belongs to another loop is dead
            self._loop, self._channels, self._listener = loop, {}, None
            self._threads = anyio.CapacityLimiter(_READERS)
        channel = self._channels.setdefault(key, _Channel(key))
        channel.followers += 1
        if self._listener is None or self._listener.done():
            self._listener = loop.create_task(self._listen())
        return channel

    def _leave(self, channel: _Channel) -> None:
        channel.followers -= 1
        if not channel.followers and self._channels.get(channel.key) is channel:
            del self._channels[channel.key]

    # ------------------------------------------------------------ the one listener

    async def _listen(self) -> None:
        """Listen while anybody follows, and a little longer; where the connection is lost, everybody reads again."""
        while await self._wanted():
            try:
                await self._hear()
            except (psycopg.Error, Problem) as error:
                log.warning("events of runs are not heard, they are looked for: %s", type(error).__name__)
                await asyncio.sleep(_PAUSE_S)

    async def _wanted(self) -> bool:
        until = asyncio.get_running_loop().time() + _IDLE_S
        while not self._channels:
            if asyncio.get_running_loop().time() > until:
                return False
            await asyncio.sleep(_PAUSE_S)
        return True

    async def _hear(self) -> None:
        async with listening(self._context.get(Database), CHANNEL, quiet_s=_RECHECK_S) as payloads:
            for channel in self._channels.values():
                channel.stale = True
                channel.wake()
            async for payload in payloads:
                if payload is not None:
                    self._heard(payload)
                elif not self._channels:
                    return

    def _heard(self, payload: str) -> None:
        org_id, run_id, seq = payload.split(" ")
        channel = self._channels.get((org_id, run_id))
        if channel is not None and int(seq) > channel.head:
            channel.told = max(channel.told, int(seq))
            channel.wake()


async def _within(news: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await news.wait()
    except TimeoutError:
        return False


def frame(event: Event, run_id: str) -> bytes:
    """One event as Server-Sent Events have it; its id is its number."""
    data = json.dumps(event.as_json(run_id), ensure_ascii=False, separators=(",", ":"))
    return f"id: {event.seq}\nevent: {event.type}\ndata: {data}\n\n".encode()


async def frames(
    followers: Followers, org_id: str, run_id: str, after: int, *, ended: bool
) -> AsyncIterator[bytes]:
    """What a client of the stream gets."""
    following = followers.follow(org_id, run_id, after, ended=ended)
    try:
        async for events in following:
            yield b"".join(frame(event, run_id) for event in events)
    finally:
        await following.aclose()
