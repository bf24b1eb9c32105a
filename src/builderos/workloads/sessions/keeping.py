"""The sessions that this process runs: on an event loop of their own, which is there once there is one."""

import asyncio

from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.loops import Loop
from builderos.core.unit import as_system
from builderos.execution.compute.schema import Meter
from builderos.execution.compute.service import SandboxProviders

from . import files, rows
from .life import Life, Pace
from .ports import Way


class Keeper:
    """Starts, looks after and ends the sessions of one process."""

    def __init__(self, context: Context, pace: Pace | None = None) -> None:
        self._context = context
        self.pace = pace or Pace()
        self._lives: dict[str, Life] = {}
        self._own: set[str] = set()
        self._loop = Loop("sessions")
        self._resumed = False

    # ---------------------------------------------------------------- from other threads

    def claim(self, id_: str) -> None:
        """This process is about to start it: whatever the rows say, it did not run when this machine stopped."""
        self._own.add(id_)

    def begin(self, org_id: str, id_: str) -> None:
        """Start a session whose row says that it starts. Does not wait."""
        self._loop.soon(lambda: self._live(org_id, id_))

    def way(self, id_: str) -> Way | None:
        """How the server of a session is reached; None where it does not run here."""
        life = self._lives.get(id_)
        return life.way if life is not None else None

    def meter(self, id_: str) -> Meter | None:
        """What a session uses, as it was looked at last; None where it does not run here."""
        life = self._lives.get(id_)
        return life.meter if life is not None else None

    def heard(self, about: str) -> None:
        """`<organisation> <session> stop`, `… keep`: its files are to be committed; `<organisation>  forget`."""
        org_id, id_, what = about.split(" ")
        if what == "forget":
            self.forget(org_id)
        elif id_ in self._lives:
            life = self._lives[id_]
            self._loop.soon(lambda: self._told(life, what))

    def forget(self, org_id: str) -> None:
        """End all sessions of an organisation."""
        for life in [life for life in list(self._lives.values()) if life.org_id == org_id]:
            self._loop.soon(lambda one=life: self._told(one, "stop"))

    def look(self, context: Context) -> None:
        """For the engine: at its first call, write down how those ended that ran when this machine stopped."""
        if self._resumed:
            return
        with context.get(Database).as_server() as connection:
            here = context.get(SandboxProviders).place
            found = connection.execute("select * from ops.sessions_of_machine(%s)", (here,)).fetchall()
        self._resumed = True
        for org_id, id_ in found:
            if str(id_) not in self._own:
                self._loop.soon(lambda o=str(org_id), i=str(id_): self._lost(o, i))

    def close(self) -> None:
        """End all of them, their files kept; then the loop."""
        self._loop.close(self._leave)

    # ---------------------------------------------------------------- on the loop

    async def _live(self, org_id: str, id_: str) -> None:
        life = Life(self._context, org_id, id_, self.pace)
        self._lives[id_] = life
        if self._loop.closed:
            life.stop(leaving=True)
        try:
            await life.live()
        finally:
            if self._lives.get(id_) is life:
                del self._lives[id_]

    async def _told(self, life: Life, what: str) -> None:
        if what == "stop":
            life.stop()
        elif what == "keep":
            await asyncio.to_thread(files.keep, self._context, life.org_id, life.id)

    async def _lost(self, org_id: str, id_: str) -> None:
        """One whose processes ended with the server's: its files are still there."""

        def close() -> None:
            files.keep(self._context, org_id, id_, last=True)
            as_system(
                self._context, org_id,
                lambda unit: rows.finish(unit, id_, "failed", "lost", "the server was stopped while it ran"),
            )  # fmt: skip

        if id_ not in self._own:
            await asyncio.to_thread(close)

    async def _leave(self) -> None:
        for life in list(self._lives.values()):
            life.stop(leaving=True)
