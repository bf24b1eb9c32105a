"""What a server does behind its requests: settle what the last stop left, run the engine, look after the database."""

import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from builderos.assets.repositories import service as repositories
from builderos.assets.workspaces import service as workspaces
from builderos.core.clock import utcnow
from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.problems import Problem
from builderos.core.pulse import Pulse
from builderos.core.settings import Settings
from builderos.engine.service import Engine
from builderos.trust.notices import service as notices

log = logging.getLogger("builderos.app")
CARE_S: Final = 2.0
SETTLED_BACK: Final = timedelta(days=2)
"""How far back a start looks for backups that a killed process left without a ref."""


class Behind:
    """Threads beside those of the requests. `revive` brings a database of our own back; None where it is another's."""

    def __init__(self, context: Context, engine: Engine, revive: Callable[[], None] | None) -> None:
        self._context = context
        self._engine = engine
        self._revive = revive
        self._stopping = threading.Event()
        self._settling = threading.Thread(target=self._settle, name="settling", daemon=True)
        self._care = threading.Thread(target=self._keep_database, name="database-care", daemon=True)
        self._pulse = Pulse(context.get(Database), context.get(Settings).database_patience_s)
        self._metering = threading.Thread(target=self._keep_counts, name="metering", daemon=True)

    def start(self) -> None:
        """Begin, in threads of its own: the first answer waits for none of it."""
        self._settling.start()
        self._metering.start()
        self._pulse.start()
        if self._revive is not None:
            self._care.start()
        if self._context.get(Settings).engine:
            self._engine.start()

    def halt(self) -> None:
        """Begin nothing new; nobody waits for what runs."""
        self._stopping.set()
        self._pulse.stop()

    def stop(self) -> bool:
        """End all of it; whether all running work could be ended in time."""
        self.halt()
        limit = self._context.get(Settings).drain_s
        drained = self._engine.stop(limit)
        for thread in (self._settling, self._care, self._metering):
            if thread.is_alive():
                thread.join(limit)
        return drained and not self._settling.is_alive()

    def _keep_database(self) -> None:
        assert self._revive is not None
        while not self._stopping.wait(CARE_S):
            try:
                self._revive()
            except Problem as problem:
                log.warning("the embedded database cannot be started: %s", problem.detail)

    def _keep_counts(self) -> None:
        """Write down what was counted, once more at the end; what the database does not take now waits."""
        while True:
            ending = self._stopping.wait(notices.watch.EVERY_S)
            try:
                notices.watch.tick(self._context)
            except Problem as problem:
                log.warning("what was counted could not be written down: %s", problem.code)
            if ending:
                return

    def _settle(self) -> None:
        try:
            since = utcnow() - SETTLED_BACK
            repositories.settle_all(self._context, stopping=self._stopping.is_set)
            workspaces.settle_backups(self._context, since)
        except Exception:  # what could not be settled now is settled when its branch is opened
            log.exception("settling after the start was interrupted")
