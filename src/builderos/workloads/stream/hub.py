"""The clients of one process: one reader per organisation, however many follow it, and none where nobody does.

Every client of an organisation is at the same place: who comes back is brought there first. What it gets is made once
for all that see the same. The clients wait without asking; a word wakes the reader, which also looks by itself from
time to time, because a word may be lost.
"""

import asyncio
import contextlib
import functools
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

import anyio
import anyio.to_thread

from builderos.core.actor import Actor
from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.problems import Problem
from builderos.core.unit import Unit, as_system
from builderos.engine.news import ASK_EVERY_S, News
from builderos.trust.identity import service as identity

from .places import Place
from .reading import Read, gap, look, message
from .topics import View

T = TypeVar("T")
log = logging.getLogger("builderos.stream")
_LOOK_S: Final = 2.0
_GATHER_S: Final = 0.015
_PAUSE_S: Final = 1.0
_CHECK_S: Final = 30.0
_WAITING: Final = 64  # messages that a slow client may have before it
_READERS: Final = 2
_EVERYBODY: Final = "policy.activated"


@dataclass(eq=False)
class Client:
    """One reply that goes on."""

    actor: Actor
    secret: str | None
    view: View
    refused: list[str]
    last: Place | None
    out: deque[bytes] = field(default_factory=deque[bytes])
    news: asyncio.Event = field(default_factory=asyncio.Event)
    told: Place | None = None  # the last place that it knows; None until it has been let in
    over: bool = False

    def give(self, frame: bytes, place: Place) -> None:
        """Have it told; who takes nothing is told in the end to look at everything."""
        if len(self.out) >= _WAITING:
            self.out.clear()
            frame = gap(place, self.view)
        self.out.append(frame)
        self.told = place
        self.news.set()

    def cut(self) -> None:
        """End the reply behind what is waiting."""
        self.over = True
        self.news.set()


@dataclass(eq=False)
class _Org:
    """The clients of one organisation, and the place they are at."""

    id: str
    clients: set[Client] = field(default_factory=set[Client])
    place: Place | None = None
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    reader: "asyncio.Task[None] | None" = None
    checked_at: float = 0.0
    asked_at: float = float("-inf")


class Hub:
    """All clients of this process. Belongs to the event loop of the first of them."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._loop: asyncio.AbstractEventLoop | None = None
        self._orgs: dict[str, _Org] = {}
        self._threads: anyio.CapacityLimiter | None = None
        context.get(News).listen(self._heard)

    async def frames(self, client: Client) -> AsyncIterator[bytes]:
        """What a client gets, until its rights change."""
        org = self._enter(client)
        try:
            while not client.over or client.out:
                if client.out:
                    frame = b"".join(client.out)
                    client.out.clear()
                    yield frame
                    continue
                client.news.clear()
                await client.news.wait()
        finally:
            org.clients.discard(client)
            org.wake.set()

    def _enter(self, client: Client) -> _Org:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # tests and reloads: what belongs to another loop is dead
            self._loop, self._orgs, self._threads = loop, {}, anyio.CapacityLimiter(_READERS)
        org = self._orgs.setdefault(client.actor.org_id, _Org(client.actor.org_id))
        org.clients.add(client)
        org.wake.set()
        if org.reader is None or org.reader.done():
            org.reader = loop.create_task(self._follow(org))
        return org

    def _heard(self, org_id: str) -> None:
        """From any thread: something happened there."""
        org, loop = self._orgs.get(org_id), self._loop
        if org is not None and loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody follows any more
                loop.call_soon_threadsafe(org.wake.set)

    # ------------------------------------------------------------ the one reader of an organisation

    async def _follow(self, org: _Org) -> None:
        while org.clients:
            org.wake.clear()
            try:
                await self._turn(org)
            except Problem as problem:
                log.warning("what happens is not read: %s", problem.code)
                await asyncio.sleep(_PAUSE_S)
                continue
            except Exception:  # nobody may wait for a reader that is gone: they come back
                log.exception("what happens was not understood")
                for client in org.clients:
                    client.cut()
                await asyncio.sleep(_PAUSE_S)
                continue
            await _within(org.wake, _LOOK_S)
            await asyncio.sleep(_GATHER_S)
        if self._orgs.get(org.id) is org:
            del self._orgs[org.id]

    async def _turn(self, org: _Org) -> None:
        """Bring all clients to the place that the record is at now."""
        now = asyncio.get_running_loop().time()
        clients = list(org.clients)
        back = frozenset(c.last for c in clients if c.told is None and c.last is not None)
        if now - org.asked_at >= ASK_EVERY_S:
            org.asked_at = now
            await self._in_thread(functools.partial(self._context.get(News).want, org.id))
        read = await self._in_thread(functools.partial(self._look, org, back))
        rights = read.news.rights if read.news is not None else frozenset[str]()
        due = now - org.checked_at >= _CHECK_S
        if due or rights:
            org.checked_at = now
            gone = await self._in_thread(
                functools.partial(self._gone, clients, everybody=_EVERYBODY in rights)
            )
            for client in gone:
                client.cut()
        org.place = read.upto
        for client in clients:
            if not client.over:
                _tell(client, read, remind=due)

    def _look(self, org: _Org, back: frozenset[Place]) -> Read:
        def looking(unit: Unit) -> Read:
            return look(unit, org.place, back)

        return as_system(self._context, org.id, looking, read_only=True, settled=True)

    def _gone(self, clients: list[Client], *, everybody: bool) -> list[Client]:
        """Clients whose credential ended, or who are another one with it by now: they come back and are asked anew."""
        database, hasher = self._context.get(Database), self._context.get(identity.Hasher)
        return [
            client for client in clients
            if everybody
            or (client.secret is not None
                and identity.authenticate(database, hasher, client.secret).actor != client.actor)
        ]  # fmt: skip

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(work, limiter=self._threads)


def _tell(client: Client, read: Read, *, remind: bool) -> None:
    place = read.upto
    if client.told is not None:
        frame = read.news.frame(client.view) if read.news is not None else b""
        if not frame and remind and client.told != place:
            frame = f"id: {place}\n\n".encode()  # so that who comes back need not go far
        if frame:
            client.give(frame, place)
        return
    missed = read.missed[client.last] if client.last is not None else None
    resumed = missed is not None and missed.items is not None
    said = {"topics": [one.word for one in client.view.wanted], "refused": client.refused, "resumed": resumed}
    # The greeting of who comes back has the old place: cut off right behind it, it still gets what it missed.
    start = client.last if client.last is not None and resumed else place
    frame = message(start, "ready", said)
    client.give(frame + (missed.frame(client.view) if missed is not None else b""), place)


async def _within(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
