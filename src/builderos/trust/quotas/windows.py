"""Moving windows in memory: no thread of their own, a few microseconds an event.

The storage of the `limits` package starts a thread with nearly every event, which walks all windows: with some thousand
tokens that costs more than the call it counts.
"""

import threading
import time
from collections import deque
from collections.abc import Callable


class Windows:
    """At most `size` events in any `seconds`, for each name."""

    def __init__(self, size: int, seconds: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.size = size
        self.seconds = seconds
        self._clock = clock
        self._events: dict[str, deque[float]] = {}
        self._swept = clock()
        self._lock = threading.Lock()

    def hit(self, name: str, size: int | None = None) -> bool:
        """Count one event, unless the window is full; returns whether it was counted. `size`: for this name a smaller
        window.
        """
        return self.take(name, size)[0]

    def take(self, name: str, size: int | None = None) -> tuple[bool, int, float]:
        """Like `hit`, and how many events still fit, and in how many seconds the oldest leaves."""
        with self._lock:
            now, most = self._clock(), self._size(size)
            self._sweep(now)
            events = self._events.get(name)
            if events is None:
                events = self._events[name] = deque()
            self._forget(events, now)
            fits = len(events) < most
            if fits:
                events.append(now)
            oldest = events[0] + self.seconds - now if events else 0.0
            return fits, max(0, most - len(events)), oldest

    def used(self, name: str) -> int:
        """How many events the window holds."""
        with self._lock:
            events = self._events.get(name, deque())
            self._forget(events, self._clock())
            return len(events)

    def wait(self, name: str, size: int | None = None) -> float:
        """Seconds until a full window has room again; 0 where it has."""
        with self._lock:
            events, now, most = self._events.get(name, deque()), self._clock(), self._size(size)
            self._forget(events, now)
            # A window that was made smaller may hold more than fits: all that is too much has to leave.
            return (
                max(0.0, events[len(events) - most] + self.seconds - now) if 0 < most <= len(events) else 0.0
            )

    def _size(self, size: int | None) -> int:
        return self.size if size is None else min(size, self.size)

    def _forget(self, events: deque[float], now: float) -> None:
        while events and events[0] <= now - self.seconds:
            events.popleft()

    def _sweep(self, now: float) -> None:
        """Drop idle names, once in a window's time: each name is looked at as seldom as it can end."""
        if now - self._swept < self.seconds:
            return
        self._swept = now
        for name in [
            name for name, events in self._events.items() if not events or events[-1] <= now - self.seconds
        ]:
            del self._events[name]
