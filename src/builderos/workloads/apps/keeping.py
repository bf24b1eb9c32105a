"""The apps that this process serves: on an event loop of their own, which is there once there is one."""

import asyncio
import concurrent.futures
import contextlib

from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.loops import Loop
from builderos.core.problems import Problem
from builderos.core.unit import Unit, as_system
from builderos.execution.compute.service import SandboxProviders

from . import rows
from .instance import Instance
from .life import Life
from .pace import Pace


class Keeper:
    """Starts, looks after and ends the apps of one server process."""

    def __init__(self, context: Context, pace: Pace | None = None) -> None:
        self._context = context
        self.pace = pace or Pace()
        self._loop = Loop("apps")
        self._lives: dict[str, Life] = {}
        self._resumed = False

    # ---------------------------------------------------------------- from other threads

    def enter(self, app_id: str) -> Instance | None:
        """What answers for an app now; whoever gets it says `leave` afterwards. None where nothing does."""
        life = self._lives.get(app_id)
        return life.stand.enter() if life is not None else None

    def leave(self, instance: Instance) -> bool:
        """Be inside of it no more; whether nobody else is."""
        life = self._lives.get(instance.recipe.app_id)
        return life is None or life.stand.leave(instance)

    def wake(self, org_id: str, app_id: str) -> "concurrent.futures.Future[None]":
        """Have an app answer; the future fails with `unavailable` where it does not."""
        waiting: concurrent.futures.Future[None] = concurrent.futures.Future()

        async def woken() -> None:
            try:
                await self._life(org_id, app_id).wake()
            except Problem as problem:
                waiting.set_exception(problem)
            else:
                waiting.set_result(None)

        if self._loop.closed:
            waiting.set_exception(Problem("unavailable", "the server is stopping", hint="Try again."))
        else:
            self._loop.soon(woken)
        return waiting

    def fails(self, app_id: str) -> bool:
        """Whether what should answer for an app does not come up here."""
        life = self._lives.get(app_id)
        return life is not None and life.stand.current is None and bool(life.trouble)

    def heard(self, about: str) -> None:
        """`<organisation> <app> bring <release>`, or `start -`, `stop -`, `changed -`; `<organisation> - forget -`."""
        org_id, app_id, what, release_id = about.split(" ")
        self._loop.soon(lambda: self._told(org_id, app_id, what, release_id))

    def look(self, context: Context) -> None:
        """For the engine: at its first call, serve again what this machine served."""
        if self._resumed:
            return
        with context.get(Database).as_server() as connection:
            here = context.get(SandboxProviders).place
            found = connection.execute("select * from ops.apps_to_serve(%s)", (here,)).fetchall()
        self._resumed = True
        for org_id, app_id in found:
            self._loop.soon(lambda o=str(org_id), a=str(app_id): self._resume(o, a))

    def close(self) -> None:
        """End all of them; then the loop."""
        self._loop.close(self._leave)

    # ---------------------------------------------------------------- on the loop

    def _life(self, org_id: str, app_id: str) -> Life:
        life = self._lives.get(app_id)
        if life is None:
            life = self._lives[app_id] = Life(self._context, org_id, app_id, self.pace, self._loop.spawn)
        return life

    async def _told(self, org_id: str, app_id: str, what: str, release_id: str) -> None:
        if what == "forget":
            for life in [life for life in self._lives.values() if life.org_id == org_id]:
                await self._end(life)
        elif what == "stop":
            if app_id in self._lives:
                await self._end(self._lives[app_id])
        elif what == "changed":
            if app_id in self._lives:
                self._lives[app_id].changed()
        elif what in ("bring", "start") and await self._is_here(org_id, app_id):
            life = self._life(org_id, app_id)
            if what == "bring":
                await life.bring(release_id)
            else:
                life.revive()

    async def _end(self, life: Life) -> None:
        await life.close()
        if self._lives.get(life.id) is life:
            del self._lives[life.id]

    async def _is_here(self, org_id: str, app_id: str) -> bool:
        """Whether this machine serves it, and it is to be served."""
        here = self._context.get(SandboxProviders).place

        def mine(unit: Unit) -> bool:
            row = rows.find(unit, app_id)
            return row.machine == here and row.state == "active"

        with contextlib.suppress(Problem):
            return await asyncio.to_thread(as_system, self._context, org_id, mine)
        return False

    async def _resume(self, org_id: str, app_id: str) -> None:
        def read(unit: Unit) -> tuple[bool, list[str]]:
            row = rows.find(unit, app_id)
            waiting = [one.id for one in rows.under_way(unit, app_id)]
            return row.current_id is not None and not row.asleep, waiting

        awake, waiting = await asyncio.to_thread(as_system, self._context, org_id, read)
        life = self._life(org_id, app_id)
        if awake:
            life.revive()
        for release_id in waiting:
            self._loop.spawn(life.bring(release_id))

    async def _leave(self) -> None:
        await asyncio.gather(*(life.close() for life in list(self._lives.values())), return_exceptions=True)
