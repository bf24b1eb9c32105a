"""One deployment while it runs: as many processes as its calls need answer for it, until somebody ends it."""

import asyncio
import contextlib
import functools
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.core.unit import Unit, as_system

from . import rows
from .replica import Replica
from .scaling import Bounds, Pace
from .schema import moved

T = TypeVar("T")
log = logging.getLogger("builderos.endpoints")
DRIFT_S: Final = 30.0
TICK_S: Final = 0.2
CALM_S: Final = 1.0  # from one look at what is wanted to the next, where that is always the same
AGAIN_S: Final = 30.0  # after another process could not be started
_AGAIN: Final = 3


class Life:
    """A deployment from its start to its end, on the loop of its keeper."""

    def __init__(self, context: Context, org_id: str, id_: str, share: int) -> None:
        self.org_id = org_id
        self.id = id_
        self.waiting = 0  # calls that nothing can be given to yet; the door counts them
        self._context = context
        self._share = share
        self._stop = asyncio.Event()
        self._replicas: dict[Replica, asyncio.Task[str | None]] = {}
        self._pace = Pace(Bounds())
        self._crashes = 0
        self._refused_until = 0.0
        self._peak = 0
        self._told = 1
        self._wakes = False

    # ---------------------------------------------------------------- from other threads

    def enter(self) -> tuple[Replica, Path] | None:
        """The process that has the least to do, with one call more, and its socket file; None where none answers.

        Give it back: `leave`.
        """
        there = [(one.inside, one, door) for one in tuple(self._replicas) if (door := one.door) is not None]
        if not there:
            return None
        _, found, door = min(there, key=lambda one: one[0])
        found.inside += 1
        self._peak = max(self._peak, 1 + sum(inside for inside, _, _ in there))
        return found, door

    @property
    def comes(self) -> bool:
        """Whether a call may wait for a process: it is on its way, or there is none while nobody calls."""
        return not self._stop.is_set() and self._wakes

    def leave(self, replica: Replica) -> None:
        """A call of it was answered."""
        replica.inside -= 1

    # ---------------------------------------------------------------- on the loop

    def stop(self) -> None:
        """End it."""
        self._stop.set()

    async def live(self) -> None:
        """Keep processes answering; start them again where they crash; never raises."""
        drift = asyncio.create_task(self._look_after())
        try:
            why = await self._serve()
            if why is not None:
                await self._unit(lambda unit: rows.failed(unit, self.id, why))
        except Problem as problem:
            told = problem.told
            with contextlib.suppress(Problem):
                await self._unit(lambda unit: rows.failed(unit, self.id, told))
        except Exception as error:
            log.exception("the deployment %s failed", self.id)
            told = f"{type(error).__name__}: {error}"[:500]
            await self._unit(lambda unit: rows.failed(unit, self.id, told))
        finally:
            drift.cancel()
            for replica in self._replicas:
                replica.stop()
            await asyncio.gather(drift, *self._replicas.values(), return_exceptions=True)
            folder = self._context.get(Settings).home_dir / "executions" / "endpoints" / self.id
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def refresh(self) -> None:
        """Its endpoint was changed: take its bounds."""
        bounds, ready, self._told = await self._unit(lambda unit: rows.bounds_of(unit, self.id))
        self._wakes = ready and not bounds.least
        self._pace.bounds = bounds if ready else Bounds(1, max(1, bounds.most), bounds.target, bounds.quiet_s)

    async def _serve(self) -> str | None:
        """None: somebody ended it; else why it ended."""
        await self.refresh()
        stop = asyncio.create_task(self._stop.wait())
        try:
            while True:
                await self._scale()
                tick = TICK_S if self._pace.bounds.moves else CALM_S
                await asyncio.wait(
                    {stop, *self._replicas.values()}, timeout=tick, return_when="FIRST_COMPLETED"
                )
                if stop.done():
                    return None
                why = await self._over()
                if why is not None or self._stop.is_set():
                    return why
        finally:
            stop.cancel()

    async def _over(self) -> str | None:
        """Processes that are over, if any: why all of it is, therefore."""
        for replica in [one for one, task in self._replicas.items() if task.done()]:
            why = await self._ended(replica)
            if why is not None:
                return why
        return None

    async def _ended(self, replica: Replica) -> str | None:
        """One process is over: why all of it is, therefore; None where the others go on, or another is started."""
        task = self._replicas.pop(replica)
        try:
            why = task.result()
        except Problem as problem:
            if not self._replicas:
                raise
            await self._refused(problem)
            return None
        if replica.leaving:
            return None
        if why is None:  # its row says that it is over
            self._stop.set()
            return None
        self._crashes += 1
        self._refused_until = asyncio.get_running_loop().time() + AGAIN_S
        ready = await self._unit(lambda unit: rows.deployment(unit, self.id).ready_at is not None)
        return why if not ready or (self._crashes >= _AGAIN and not self._staying()) else None

    async def _refused(self, problem: Problem) -> None:
        self._refused_until = asyncio.get_running_loop().time() + AGAIN_S
        there = self._staying()
        await self._unit(lambda unit: rows.scaled(unit, self.id, self._told, there, problem.code))
        self._told = there

    def _staying(self) -> int:
        return sum(not one.leaving for one in self._replicas)

    def _wanted(self) -> int:
        return self._pace.wanted(self._staying(), self._peak + self.waiting)

    async def _scale(self) -> None:
        """Start or end processes until there are as many as wanted."""
        there, wanted = self._staying(), self._wanted()
        self._peak = sum(one.inside for one in self._replicas)
        if there and wanted > there and asyncio.get_running_loop().time() < self._refused_until:
            wanted = there
        if wanted != self._told:
            why = "the calls in flight" if wanted > self._told else "it was quiet"
            await self._unit(lambda unit: rows.scaled(unit, self.id, self._told, wanted, why))
            self._told = wanted
        for _ in range(wanted - there):
            self._begin()
        leaving = sorted((one for one in self._replicas if not one.leaving), key=lambda one: one.inside)
        for replica in leaving[: max(0, there - wanted)]:
            replica.leaving = True
            self._drained(replica)

    def _drained(self, replica: Replica) -> None:
        task = asyncio.get_running_loop().create_task(replica.drain())
        self._replicas[replica].add_done_callback(lambda _: task.cancel())

    def _begin(self) -> None:
        first = not self._replicas
        replica = Replica(self._context, self.org_id, self.id, first=first and not self.waiting)
        task = asyncio.get_running_loop().create_task(replica.live())
        self._replicas[replica] = task
        known = asyncio.get_running_loop().create_task(self._answered(replica))
        task.add_done_callback(lambda _: known.cancel())

    async def _answered(self, replica: Replica) -> None:
        await replica.answers.wait()
        await self._unit(functools.partial(rows.ready, id_=self.id, share=self._share))
        await self.refresh()

    async def _look_after(self) -> None:
        """Until somebody ends it: keep what its processes tell of the rows that come."""
        before: list[dict[str, Any]] | None = None
        while True:
            await asyncio.sleep(DRIFT_S)
            found = await self._drift()
            if found and found != before:
                before = found
                await self._unit(functools.partial(rows.drifted, id_=self.id, drift=found))

    async def _drift(self) -> list[dict[str, Any]] | None:
        from builderos.execution.serving.service import SILENT, Inside

        door = next((one.door for one in self._replicas if one.door is not None), None)
        if door is None:
            return None
        inside = Inside.at(door)
        try:
            status, told = await inside.ask("/drift", 5.0, {})
        except SILENT:
            return None
        finally:
            await inside.close()
        return moved(told) if status == 200 else None

    async def _unit(self, verb: Callable[[Unit], T]) -> T:
        return await asyncio.to_thread(as_system, self._context, self.org_id, verb)
