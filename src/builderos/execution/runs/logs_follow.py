"""Following logs that grow: one task per process looks at all files that anybody follows, ten times a second.

Whoever follows reads by offset when it is ready; followers at the same place share what was read.
"""

import asyncio
import json
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread

from .events import Event
from .events_follow import ENDED, Followers
from .logs import end_of
from .logs_read import Log, shown, whole_part

LOOK_S: Final = 0.1
PIECE: Final = 32 * 1024
_PATIENCE_S: Final = 1.0
_SHARED: Final = 256
_MOST: Final = 100_000  # attempts of one run that an id may speak of
_THREADS: Final = 2
_State = tuple[int, bool]
"""Bytes of a log, and whether it is whole."""


@dataclass(frozen=True)
class Chunk:
    """Text of a log from `offset` to `next_offset`; `whole`: the log ends there."""

    text: str
    offset: int
    next_offset: int
    whole: bool


@dataclass
class _Watched:
    """A file that is followed, and who is to be woken when it grows."""

    path: Path
    seen: _State = (-1, False)
    waiting: list[asyncio.Event] = field(default_factory=list[asyncio.Event])

    def is_now(self, state: _State) -> None:
        """Wake everybody where it has changed."""
        if state == self.seen:
            return
        self.seen = state
        for wake in self.waiting:
            wake.set()


class Tails:
    """The followed logs of one process. Belongs to the event loop that first follows something."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watched: dict[Path, _Watched] = {}
        self._shared: OrderedDict[tuple[Path, int], tuple[Chunk, _State]] = OrderedDict()
        self._looking: asyncio.Task[None] | None = None
        self._threads: anyio.CapacityLimiter | None = None

    def enter(self, path: Path, wake: asyncio.Event) -> None:
        """Set `wake` from now on whenever the log has grown or ended."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # what belongs to another loop is dead
            self._loop, self._watched, self._looking = loop, {}, None
            self._threads = anyio.CapacityLimiter(_THREADS)
        self._watched.setdefault(path, _Watched(path)).waiting.append(wake)
        if self._looking is None or self._looking.done():
            self._looking = loop.create_task(self._look())

    def leave(self, path: Path, wake: asyncio.Event) -> None:
        """Not any more."""
        watched = self._watched.get(path)
        if watched is not None and wake in watched.waiting:
            watched.waiting.remove(wake)
            if not watched.waiting:
                del self._watched[path]

    async def read(self, path: Path, offset: int, *, ended: bool = False) -> Chunk:
        """What stands behind an offset. `ended`: nobody writes any more, even where the file does not say so."""
        held, watched = self._shared.get((path, offset)), self._watched.get(path)
        if held is not None and (held[0].whole or (not ended and watched and watched.seen == held[1])):
            return held[0]
        chunk, state = await anyio.to_thread.run_sync(_read, path, offset, ended, limiter=self._threads)
        self._shared[path, offset] = (chunk, state)
        while len(self._shared) > _SHARED:
            self._shared.popitem(last=False)
        return chunk

    async def _look(self) -> None:
        while self._watched:
            watched = list(self._watched.values())
            states = await anyio.to_thread.run_sync(_states, watched, limiter=self._threads)
            for one, state in zip(watched, states, strict=True):
                one.is_now(state)
            await asyncio.sleep(LOOK_S)


def _states(watched: list[_Watched]) -> list[_State]:
    return [_state(one.path) for one in watched]


def _state(path: Path) -> _State:
    closed = end_of(path).exists()  # looked at first: what is there then is all
    try:
        return path.stat().st_size, closed
    except FileNotFoundError:
        return 0, False


def _read(path: Path, offset: int, ended: bool) -> tuple[Chunk, _State]:
    said = end_of(path).exists()
    closed = ended or said
    with Log.at(path) as log:
        piece = log.piece(offset, PIECE)
    more = piece.next_offset < piece.size or not closed
    data = whole_part(piece.data, more=more)
    upto = piece.offset + len(data)
    return Chunk(shown(data), piece.offset, upto, closed and upto >= piece.size), (piece.size, said)


async def chunks(
    tails: Tails, path: Path, offset: int, *, over: Callable[[], Awaitable[bool]]
) -> AsyncGenerator[Chunk]:
    """Text of a log from an offset on as it comes; the last chunk is `whole`.

    `over` is asked now and then while nothing comes: whether the attempt has ended, e.g. with the machine it ran on.
    """
    wake = asyncio.Event()
    tails.enter(path, wake)
    ended = False
    try:
        while True:
            wake.clear()
            chunk = await tails.read(path, offset, ended=ended)
            offset = chunk.next_offset
            if chunk.text or chunk.whole:
                yield chunk
            if chunk.whole:
                return
            if not chunk.text and not await _woken(wake):
                ended = await over()
    finally:
        tails.leave(path, wake)


async def _woken(wake: asyncio.Event) -> bool:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await wake.wait()
    except TimeoutError:
        return False


def frame(type_: str, id_: str | int, body: dict[str, Any]) -> bytes:
    """One Server-Sent Event."""
    data = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return f"id: {id_}\nevent: {type_}\ndata: {data}\n\n".encode()


async def frames(
    tails: Tails, path: Path, offset: int, names: dict[str, Any], over: Callable[[], Awaitable[bool]]
) -> AsyncIterator[bytes]:
    """What follows one attempt's log: `log` events, ids are offsets, and `end` behind the last."""
    following = chunks(tails, path, offset, over=over)
    try:
        async for chunk in following:
            if chunk.text:
                body = {**names, "text": chunk.text, "offset": chunk.offset, "next_offset": chunk.next_offset}
                yield frame("log", chunk.next_offset, body)
            if chunk.whole:
                yield frame("end", chunk.next_offset, {**names, "size": chunk.next_offset})
    finally:
        await following.aclose()


# ---------------------------------------------------------------- all logs of a run


@dataclass
class _Part:
    """The log of one attempt within a run."""

    ordinal: int
    names: dict[str, Any]
    path: Path
    offset: int = 0
    over: bool = False
    done: bool = False


@dataclass
class Place:
    """How far somebody is in the logs of a run: all before `done` to their ends, of some others an offset.

    Attempts are numbered from 0 as they began; that is what the events of the run say, which never change.
    """

    done: int = 0
    offsets: dict[int, int] = field(default_factory=dict[int, int])
    apart: set[int] = field(default_factory=set[int])

    @classmethod
    def of(cls, text: str) -> "Place":
        """Read an id back. Raises `ValueError`."""
        head, _, rest = text.partition(";")
        place = cls(int(head))
        for item in filter(None, rest.split(",")):
            ordinal, _, offset = item.partition(":")
            first, _, last = ordinal.partition("-")
            if offset == "x":
                place.apart.update(range(int(first), min(int(last or first), _MOST) + 1))
            else:
                place.offsets[int(ordinal)] = int(offset)
        if place.done < 0 or any(n < 0 for pair in place.offsets.items() for n in pair):
            raise ValueError(text)
        return place

    def __str__(self) -> str:
        items = [f"{first}-{last}:x" for first, last in _ranges(self.apart)]
        items += [f"{n}:{at}" for n, at in sorted(self.offsets.items())]
        return f"{self.done};{','.join(items)}"

    def at(self, ordinal: int) -> int | None:
        """The offset to go on from; None: that log is done."""
        if ordinal < self.done or ordinal in self.apart:
            return None
        return self.offsets.get(ordinal, 0)

    def reached(self, ordinal: int, offset: int) -> None:
        """So far of this log."""
        self.offsets[ordinal] = offset

    def finished(self, ordinal: int) -> None:
        """All of it."""
        self.offsets.pop(ordinal, None)
        self.apart.add(ordinal)
        while self.done in self.apart:
            self.apart.remove(self.done)
            self.done += 1


def _ranges(numbers: set[int]) -> Iterator[tuple[int, int]]:
    """First and last of each row of numbers without a gap: thousands may be done while one goes on."""
    first = last = -1
    for number in sorted(numbers):
        if number != last + 1:
            if first >= 0:
                yield first, last
            first = number
        last = number
    if first >= 0:
        yield first, last


class RunFollower:
    """One client's way through all logs of a run, as they are written."""

    def __init__(
        self, tails: Tails, followers: Followers, org_id: str, run_id: str, *, ended: bool, place: Place,
        path_of: Callable[[str, int], Path],
    ) -> None:  # fmt: skip
        self._tails = tails
        self._events = followers.follow(org_id, run_id, 0, ended=ended)
        self._place = place
        self._path_of = path_of
        self._parts: list[_Part] = []
        self._count = 0
        self._told = False
        self._wake = asyncio.Event()

    async def frames(self) -> AsyncIterator[bytes]:
        """`log` events of all attempts, each with its step, and `end` when the run has ended."""
        hearing = asyncio.ensure_future(self._hear())
        try:
            while True:
                self._wake.clear()
                sent = False
                async for made in self._round():
                    sent = True
                    yield made
                self._parts = [p for p in self._parts if not p.done]
                if self._told and not self._parts:
                    yield frame("end", str(self._place), {})
                    return
                if hearing.done():
                    hearing.result()
                if not sent:
                    await _woken(self._wake)
        finally:
            hearing.cancel()
            await asyncio.wait([hearing])
            for part in self._parts:
                self._tails.leave(part.path, self._wake)
            await self._events.aclose()

    async def _round(self) -> AsyncIterator[bytes]:
        """What every open log has got since the last time."""
        for part in list(self._parts):
            async for made in self._of(part):
                yield made

    async def _of(self, part: _Part) -> AsyncIterator[bytes]:
        chunk = await self._tails.read(part.path, part.offset, ended=part.over)
        part.offset = chunk.next_offset
        self._place.reached(part.ordinal, part.offset)
        if chunk.whole:
            part.done = True
            self._place.finished(part.ordinal)
            self._tails.leave(part.path, self._wake)
        if chunk.text:
            body = {
                **part.names,
                "text": chunk.text,
                "offset": chunk.offset,
                "next_offset": chunk.next_offset,
            }
            yield frame("log", str(self._place), body)

    async def _hear(self) -> None:
        try:
            async for events in self._events:
                for event in events:
                    self._take(event)
                self._wake.set()
        finally:
            self._told = True
            self._wake.set()

    def _take(self, event: Event) -> None:
        said = event.payload
        if event.type == "step.started":
            names = {"step_id": said["step_id"], "name": said["name"], "attempt": said["attempt"]}
            part = _Part(self._count, names, self._path_of(said["name"], said["attempt"]))
            self._count += 1
            at = self._place.at(part.ordinal)
            if at is not None:
                part.offset = at
                self._parts.append(part)
                self._tails.enter(part.path, self._wake)
        elif event.type in ("step.ended", "step.retrying", "step.skipped", ENDED):
            for part in self._parts:
                if event.type == ENDED or part.names["step_id"] == said.get("step_id"):
                    part.over = True
