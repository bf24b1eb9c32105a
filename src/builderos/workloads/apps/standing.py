"""Which instance answers for an app, and who is inside: asked on the loop of the door, moved on that of the keeper."""

import threading
import time

from .instance import Instance


class Stand:
    """One per app. A request enters whatever answers at that moment, and keeps that one up until it leaves."""

    def __init__(self) -> None:
        self.current: Instance | None = None
        self.used = time.monotonic()
        self._guard = threading.Lock()

    def enter(self) -> Instance | None:
        """What answers now, entered; None where nothing does."""
        with self._guard:
            found = self.current
            if found is not None:
                found.inside += 1
            self.used = time.monotonic()
            return found

    def leave(self, instance: Instance) -> bool:
        """Be inside no more; whether nobody else is."""
        with self._guard:
            instance.inside -= 1
            self.used = time.monotonic()
            return not instance.inside

    def point_to(self, instance: Instance | None) -> Instance | None:
        """Have this one answer from now on; what answered before."""
        with self._guard:
            old, self.current = self.current, instance
            return old

    def drop(self, instance: Instance) -> bool:
        """It answers no more; whether it did."""
        with self._guard:
            if self.current is not instance:
                return False
            self.current = None
            return True

    def rest(self, instance: Instance, idle_s: float) -> bool:
        """Have nothing answer where nobody has asked for so long; whether that is so."""
        with self._guard:
            if self.current is not instance or instance.inside or time.monotonic() - self.used < idle_s:
                return False
            self.current = None
            return True

    def is_empty(self, instance: Instance) -> bool:
        """Whether nobody is inside of it."""
        with self._guard:
            return not instance.inside
