"""Which deployment answers a call, and how often an endpoint is called."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from builderos.core.clock import utcnow
from builderos.core.problems import Problem

_REMEMBERED: Final = 1000


@dataclass(frozen=True, slots=True)
class Chosen:
    """What answers a call. `rate`: the share of such calls whose payloads are kept."""

    org_id: str
    endpoint_id: str
    deployment_id: str
    shadow_id: str | None = None
    actor_id: str = ""
    rate: float = 0.0


class Counts:
    """Calls of each endpoint in the minute that goes on, by this process."""

    def __init__(self) -> None:
        self._minutes: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._lock = threading.Lock()

    def spend(self, endpoint_id: str, limit: int) -> None:
        """Count one. Raises `rate_limited`."""
        minute = int(utcnow().timestamp()) // 60
        with self._lock:
            at, count = self._minutes.pop(endpoint_id, (minute, 0))
            count = count + 1 if at == minute else 1
            self._minutes[endpoint_id] = (minute, count)
            while len(self._minutes) > _REMEMBERED:
                self._minutes.popitem(last=False)
        if count > limit:
            raise Problem(
                "rate_limited",
                f"this endpoint is called {limit} times a minute at most",
                hint="Wait.",
                limit=limit,
            )
