"""Notices one token that is used from many places at once: it was passed around, or stolen."""

import threading
from collections.abc import Callable
from time import monotonic
from typing import Final

WINDOW_S: Final = 60


class Crowds:
    """Callers of each credential within a minute. Callers are pseudonyms that live in memory alone."""

    def __init__(self, most: int, clock: Callable[[], float] = monotonic) -> None:
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[str, dict[str, float]] = {}
        self._swept = clock()

    def seen(self, credential_id: str, caller: str) -> int | None:
        """Note a call; the number of callers in the last minute where that is more than anybody needs."""
        with self._lock:
            now = self._clock()
            self._sweep(now)
            callers = self._seen.setdefault(credential_id, {})
            callers[caller] = now
            if len(callers) <= self._most:
                return None
            recent = {name: at for name, at in callers.items() if at > now - WINDOW_S}
            self._seen[credential_id] = recent
            return len(recent) if len(recent) > self._most else None

    def forget(self, credential_id: str) -> None:
        """Begin anew: somebody looked at it."""
        with self._lock:
            self._seen.pop(credential_id, None)

    def _sweep(self, now: float) -> None:
        """Drop what nobody used for a minute, once a minute."""
        if now - self._swept < WINDOW_S:
            return
        self._swept = now
        for name in [n for n, callers in self._seen.items() if max(callers.values()) <= now - WINDOW_S]:
            del self._seen[name]
