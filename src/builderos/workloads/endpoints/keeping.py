"""The deployments that this process runs: on an event loop of their own, which is there once there is one."""

import asyncio
import time
from typing import Final

from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.loops import Loop
from builderos.core.unit import Unit, as_system
from builderos.engine import signals
from builderos.execution.compute.service import SandboxProviders

from . import payloads, rows
from .life import Life
from .tally import Tally

WORD: Final = "endpoints"
FORGET_S: Final = 600.0


class Keeper:
    """Starts, looks after and ends the processes of endpoints of one server process."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.tally = Tally()
        self.samples = payloads.Samples()
        self._forgot = time.monotonic() - FORGET_S
        self._lives: dict[str, Life] = {}
        self._loop = Loop("endpoints")
        self._resumed = False

    # ---------------------------------------------------------------- from other threads

    def begin(self, org_id: str, id_: str, share: int) -> None:
        """Start a deployment whose row says that it starts. Does not wait."""
        self._loop.soon(lambda: self._live(org_id, id_, share))

    def life(self, deployment_id: str) -> Life | None:
        """A deployment that runs here; None where it does not."""
        return self._lives.get(deployment_id)

    def heard(self, about: str) -> None:
        """`<organisation> <endpoint>`: some of its deployments may have to end; without an endpoint, all of them."""
        org_id, _, endpoint_id = about.partition(" ")
        self._loop.soon(lambda: self._sift(org_id, endpoint_id))

    def look(self, context: Context) -> None:
        """For the engine: at its first call, start again what this machine serves; each time, write down what was
        counted and sampled.
        """
        self.tally.write(context)
        self.samples.write(context)
        if time.monotonic() - self._forgot > FORGET_S:
            self._forgot = time.monotonic()
            payloads.forget(context)
        if self._resumed:
            return
        with context.get(Database).as_server() as connection:
            here = context.get(SandboxProviders).place
            found = connection.execute("select * from ops.endpoints_to_serve(%s)", (here,)).fetchall()
        self._resumed = True
        for org_id, id_ in found:
            self._loop.soon(lambda o=str(org_id), i=str(id_): self._resume(o, i))

    def close(self) -> None:
        """End all of them; then the loop."""
        self._loop.close(self._leave)

    # ---------------------------------------------------------------- on the loop

    async def _live(self, org_id: str, id_: str, share: int) -> None:
        if id_ in self._lives or self._loop.closed:
            return
        life = self._lives[id_] = Life(self._context, org_id, id_, share)
        try:
            await life.live()
        finally:
            self._lives.pop(id_, None)

    async def _sift(self, org_id: str, endpoint_id: str) -> None:
        """End the processes of what the rows say is over."""

        mine = [life.id for life in self._lives.values() if life.org_id == org_id]

        def over(unit: Unit) -> list[str]:
            return [id_ for id_ in mine if rows.deployment(unit, id_).status not in rows.LIVE]

        ended = await asyncio.to_thread(as_system, self._context, org_id, over) if endpoint_id else mine
        for id_ in mine:
            life = self._lives.get(id_)
            if life is not None and id_ in ended:
                life.stop()
            elif life is not None:
                await life.refresh()

    async def _resume(self, org_id: str, endpoint_id: str) -> None:
        def live(unit: Unit) -> list[str]:
            return [one.id for one in rows.of_endpoint(unit, endpoint_id) if one.status in rows.LIVE]

        for id_ in await asyncio.to_thread(as_system, self._context, org_id, live):
            self._loop.spawn(self._live(org_id, id_, 0))

    async def _leave(self) -> None:
        for life in list(self._lives.values()):
            life.stop()


def erase(context: Context, org_id: str) -> None:
    """End all that any process serves of an organisation that is erased; safe to repeat."""
    keeper = context.get(Keeper)
    keeper.tally.drop(org_id)
    keeper.samples.drop(org_id)
    keeper.heard(f"{org_id} ")
    as_system(context, org_id, lambda unit: signals.tell(unit, WORD, f"{org_id} "))
