"""Calls of one credential to one endpoint that arrive together are let in together.

Whoever comes while a group is let in belongs to the next one. For who was let in a moment ago the model works while it
is asked whether that still stands; no answer leaves before.
"""

import asyncio
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import anyio
import anyio.to_thread

from builderos.core.application import Application
from builderos.core.metrics import Metrics
from builderos.core.problems import Problem
from builderos.core.unit import Call
from builderos.trust.identity import service as identity
from builderos.trust.identity.service import Found
from builderos.trust.policy import service as policy
from builderos.workloads.endpoints import service as endpoints

from .records import note_refusal
from .serve import Incoming, admit

AT_ONCE: Final = 64
GROUPS: Final = 2
REMEMBERED: Final = 1000
TOOL: Final = "invokeEndpoint@1"
Key: TypeAlias = tuple[bytes, str, str, str, str]
Outcome: TypeAlias = "endpoints.Chosen | Exception"


@dataclass(slots=True)
class Waiting:
    """A call that waits to be let in: what answers it, and, later, the same once its access is on the disk.

    The second may be another one than the first, where things changed in between: then that one's answer counts.
    """

    incoming: Incoming
    chosen: "asyncio.Future[endpoints.Chosen]"
    noted: "asyncio.Future[endpoints.Chosen]"


@dataclass(frozen=True, slots=True)
class Known:
    """A caller who was let in: the credential as it was found, and what it may."""

    found: Found
    standing: endpoints.Standing


class Admissions:
    """Those of one server. Belongs to its event loop."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._waiting: dict[Key, list[Waiting]] = {}
        self._working: dict[Key, int] = {}
        self._known: dict[Key, Known] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def let_in(self, incoming: Incoming, which: str) -> Waiting:
        """Have it asked whether a call may be."""
        loop = asyncio.get_running_loop()
        hasher = self._app.context.get(identity.Hasher)  # nothing keeps the secret itself
        secret = hasher(incoming.bearer) if incoming.bearer is not None else b""
        key = (secret, incoming.org_slug or "", which, incoming.door, incoming.audience)
        waiting = Waiting(incoming, loop.create_future(), loop.create_future())
        # Nobody may be there any more to hear of either.
        waiting.chosen.add_done_callback(_heard)
        waiting.noted.add_done_callback(_heard)
        known = self._known.get(key)
        if known is not None and known.standing.holds(self._app.context):
            waiting.chosen.set_result(known.standing.choose())
        self._waiting.setdefault(key, []).append(waiting)
        if self._working.get(key, 0) < GROUPS:
            self._working[key] = self._working.get(key, 0) + 1
            task = loop.create_task(self._work(key))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return waiting

    async def _work(self, key: Key) -> None:
        limiter = self._app.context.get(anyio.CapacityLimiter)
        while group := self._waiting.pop(key, []):
            if group[AT_ONCE:]:
                self._waiting[key] = group[AT_ONCE:]
                group = group[:AT_ONCE]
            found: list[Outcome]
            known = self._known.get(key)
            again = known is not None and all(one.chosen.done() for one in group)
            asked = (
                self._again(group, key[2], known)
                if known is not None and again
                else self._anew(group, key[2])
            )
            try:
                found, now = await anyio.to_thread.run_sync(asked, limiter=limiter)
            except Exception as error:  # noqa: BLE001 - each of them is told
                now = None
                found = [error for _ in group]
            self._remember(key, now)
            _tell([one.chosen for one in group], found)
            _tell([one.noted for one in group], found)
        self._working[key] -= 1
        if not self._working[key]:
            del self._working[key]

    def _remember(self, key: Key, known: Known | None) -> None:
        self._known.pop(key, None)
        if known is not None:
            self._known[key] = known
            while len(self._known) > REMEMBERED:
                del self._known[next(iter(self._known))]

    def _anew(self, group: list[Waiting], which: str) -> "Callable[[], tuple[list[Outcome], Known | None]]":
        loop = asyncio.get_running_loop()

        def early(found: list[Outcome]) -> None:
            loop.call_soon_threadsafe(_tell, [one.chosen for one in group], found)

        return functools.partial(self._admit, [one.incoming for one in group], which, early)

    def _again(
        self, group: list[Waiting], which: str, known: Known
    ) -> "Callable[[], tuple[list[Outcome], Known | None]]":
        standing = known.standing
        early = [None if one.chosen.cancelled() else one.chosen.result() for one in group]
        chosen = [one if one is not None and standing.gives(one) else standing.choose() for one in early]
        return functools.partial(self._admit_again, [one.incoming for one in group], which, known, chosen)

    # ---------------------------------------------------------------- in a worker thread

    def _admit_again(
        self, group: list[Incoming], which: str, known: Known, chosen: "list[endpoints.Chosen]"
    ) -> "tuple[list[Outcome], Known | None]":
        calls, refused = self._calls(group, {group[0].bearer or "": known.found})
        left = [one for one, problem in zip(chosen, refused, strict=True) if problem is None]
        found = endpoints.admit_again(self._app.context, calls, known.standing, left) if calls else []
        if found is None:  # something changed: from the beginning
            return self._admit(group, which, None)
        out = _whole(refused, found)
        return out, None if any(isinstance(one, Exception) for one in out) else known

    def _admit(
        self, group: list[Incoming], which: str, early: "Callable[[list[Outcome]], None] | None"
    ) -> "tuple[list[Outcome], Known | None]":
        context, bearer = self._app.context, group[0].bearer
        # What it stands for is looked at before the credential is: whatever changes from here on is seen next time.
        plain = bearer is not None and group[0].org_slug is None
        stood = endpoints.stands(context, bearer) if plain and bearer is not None else None
        known: dict[str, Found] = {}
        calls, refused = self._calls(group, known)
        if not calls:
            return _whole(refused, []), None

        def told(found: "Sequence[Outcome]") -> None:
            if early is not None:
                early(_whole(refused, found))

        try:
            found, standing = endpoints.admit(context, calls, which, told, stood)
        except policy.Refused as problem:
            for call in calls:
                note_refusal(context, call, problem)
            raise
        out = _whole(refused, found)
        if standing is None or bearer is None or any(isinstance(one, Exception) for one in out):
            return out, None
        return out, Known(known[bearer], standing)

    def _calls(
        self, group: list[Incoming], known: dict[str, Found]
    ) -> tuple[list[Call], list[Problem | None]]:
        calls: list[Call] = []
        refused: list[Problem | None] = []
        for incoming in group:
            try:
                calls.append(admit(self._app, incoming, TOOL, known))
                refused.append(None)
            except Problem as problem:
                self._app.context.get(Metrics).refused(problem)
                refused.append(problem)
        return calls, refused


def _whole(refused: "Sequence[Problem | None]", found: "Sequence[Outcome]") -> "list[Outcome]":
    left = iter(found)
    return [next(left) if one is None else one for one in refused]


def _tell(waiting: "Sequence[asyncio.Future[endpoints.Chosen]]", found: "Sequence[Outcome]") -> None:
    for done, one in zip(waiting, found, strict=True):
        if not done.done():
            done.set_exception(one) if isinstance(one, Exception) else done.set_result(one)


def _heard(done: "asyncio.Future[endpoints.Chosen]") -> None:
    if not done.cancelled():
        done.exception()
