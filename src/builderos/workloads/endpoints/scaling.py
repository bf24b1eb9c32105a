"""How many processes a deployment needs: by the calls that are in flight, at once upwards, slowly downwards."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an endpoint's row says. `target`: calls in flight that one process is to have; `quiet_s`: seconds."""

    least: int = 1
    most: int = 1
    target: int = 4
    quiet_s: float = 300.0

    @classmethod
    def of(cls, scaling: dict[str, Any]) -> "Bounds":
        """As the column holds them."""
        return cls(scaling["min_replicas"], scaling["max_replicas"], scaling["target"], scaling["quiet_s"])

    @property
    def moves(self) -> bool:
        """Whether there is anything to decide."""
        return self.most > self.least


class Pace:
    """Decides for one deployment: as many as the calls need, at once; one less after each quiet while."""

    def __init__(self, bounds: Bounds, clock: Callable[[], float] = time.monotonic) -> None:
        self.bounds = bounds
        self._clock = clock
        self._enough_since = clock()

    def wanted(self, running: int, in_flight: int) -> int:
        """How many processes there should be, where `running` are."""
        bounds, now = self.bounds, self._clock()
        needed = min(max(math.ceil(in_flight / bounds.target), bounds.least), bounds.most)
        if needed >= running:
            self._enough_since = now
            return needed
        if running > bounds.most:  # the bounds were drawn closer
            return bounds.most
        if now - self._enough_since < bounds.quiet_s:
            return running
        self._enough_since = now
        return running - 1
