"""Who hears that something happened in an organisation: in this process at once, in others by a word.

It only wakes: whoever hears it reads what there is. Nothing is told to other processes as long as none of them asks for
it, and a commit never waits for the telling.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Final

from builderos.core.actor import system_actor
from builderos.core.context import Context
from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.core.unit import Call, Unit, perform

from .signals import tell

log = logging.getLogger("builderos.engine")
WORD: Final = "news"
WANTED: Final = "news.wanted"
ASK_EVERY_S: Final = 20.0
_WANTED_S: Final = 60.0
_GATHER_S: Final = 0.02


class News:
    """What happened where, for this process's listeners and for those of others that want it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._me = os.urandom(8).hex()
        self._ears: list[Callable[[str], None]] = []
        self._lock = threading.Condition()
        self._untold = set[str]()
        self._wanted_until = 0.0
        self._teller: threading.Thread | None = None

    def listen(self, heard: Callable[[str], None]) -> None:
        """Call `heard(org_id)` after each act, from whatever thread; it must not block."""
        self._ears.append(heard)

    def touch(self, org_id: str) -> None:
        """Something happened in an organisation, and is durable."""
        self.heard(org_id)
        if time.monotonic() < self._wanted_until:
            with self._lock:
                self._untold.add(org_id)
                self._lock.notify()

    def heard(self, org_id: str) -> None:
        """Another process says that something happened there."""
        for ear in self._ears:
            ear(org_id)

    def want(self, org_id: str) -> None:
        """Ask every other process to tell for the next minute; in a thread that may wait for the database."""
        self._say(org_id, WANTED, [self._me])

    def wanted(self, who: str) -> None:
        """A process asks to be told."""
        if who == self._me:
            return
        self._wanted_until = time.monotonic() + _WANTED_S
        with self._lock:
            if self._teller is None:
                self._teller = threading.Thread(target=self._tell, name="news", daemon=True)
                self._teller.start()

    def _tell(self) -> None:
        """Tell what happened, all of some milliseconds together, until nobody wants it any more."""
        while self._something():
            time.sleep(_GATHER_S)
            with self._lock:
                told, self._untold = self._untold, set[str]()
            try:
                self._say(min(told), WORD, sorted(told))
            except Problem as problem:  # they look from time to time, too
                log.warning("news were not told: %s", problem.code)

    def _something(self) -> bool:
        """Wait until there is something to tell; False when nobody has wanted it for long."""
        with self._lock:
            while not self._untold:
                if not self._lock.wait(_WANTED_S) and time.monotonic() >= self._wanted_until:
                    self._teller = None
                    return False
        return True

    def _say(self, org_id: str, word: str, abouts: list[str]) -> None:
        call = Call(actor=system_actor(org_id), presented="valid", request_id=new_id("req"), door="engine")

        def say(unit: Unit) -> None:
            for about in abouts:
                tell(unit, word, about)

        perform(self._context, call, say, durable=False)


def stir(unit: Unit) -> None:
    """Wake whoever follows the unit's organisation, once the unit is durable."""
    if News in unit.context:
        news, org_id = unit.get(News), unit.org_id
        unit.after_commit(lambda: news.touch(org_id))
