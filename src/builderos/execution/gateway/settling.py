"""What requests did cost, written down behind them: many rows in one transaction, by a thread of its own.

A row stands since before its request left. A process that is killed before it settles leaves it to the sweep, which
takes the most that it can have cost.
"""

import logging
import threading
from dataclasses import dataclass
from typing import Any, Final

from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.unit import as_system

from . import reserving
from .schema import Counts, Label, State

log = logging.getLogger("builderos.gateway")
EVERY_S: Final = 0.05
AGAIN_S: Final = 1.0
AT_ONCE: Final = 500
_MOST: Final = 100_000
CLOSE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a request ended."""

    id: str
    org_id: str
    provider: str
    model: str
    label: Label
    state: State
    code: str
    counts: Counts
    cost: int
    attempts: int
    first_ms: int | None
    total_ms: int

    def row(self) -> dict[str, Any]:
        """As `ops.ai_settle` takes it."""
        return {
            "id": self.id, "provider": self.provider, "model": self.model, "label": self.label, "state": self.state,
            "code": self.code, "estimated": self.counts.estimated, "input_tokens": self.counts.input,
            "cached_tokens": self.counts.cached, "output_tokens": self.counts.output, "cost": self.cost,
            "attempts": self.attempts, "first_ms": self.first_ms, "total_ms": self.total_ms,
        }  # fmt: skip


class Settler:
    """Takes settlements from any thread and writes them soon. `close` writes what is left."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._waiting: list[Settlement] = []
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._more = threading.Event()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def settle(self, settlement: Settlement) -> None:
        """Have it written down. Never waits and never raises: it is called while requests end, however they do."""
        with self._lock:
            if len(self._waiting) >= _MOST:  # the database is away: the sweep will find these rows
                log.error("usage of %s is left to the sweep", settlement.id)
                return
            self._waiting.append(settlement)
            if self._thread is None and not self._end.is_set():
                self._thread = threading.Thread(target=self._work, name="ai-usage", daemon=True)
                self._thread.start()
        self._more.set()

    @property
    def behind(self) -> bool:
        """Whether something has ended that the database does not know of yet."""
        return bool(self._waiting) or self._writing.locked()

    def close(self) -> None:
        """Write what is left, as far as the database takes it in time."""
        self._end.set()
        self._more.set()
        if self._thread is not None:
            self._thread.join(CLOSE_S)
        self.flush()

    def flush(self) -> bool:
        """Write what waits, in this thread; whether all of it could be written. Afterwards whoever reads the usage sees
        all that has ended.
        """
        with self._writing:
            with self._lock:
                taken, self._waiting = self._waiting, []
            by_org: dict[str, list[Settlement]] = {}
            for settlement in taken:
                by_org.setdefault(settlement.org_id, []).append(settlement)
            left = [one for org_id, items in by_org.items() for one in self._left_of(org_id, items)]
            if left:
                with self._lock:
                    self._waiting = left + self._waiting
            return not left

    def _work(self) -> None:
        while True:
            self._more.wait()
            self._end.wait(EVERY_S)  # others may end meanwhile, and share the transaction
            self._more.clear()
            if self._end.is_set():
                return
            if not self.flush():
                self._end.wait(AGAIN_S)
                self._more.set()

    def _left_of(self, org_id: str, items: list[Settlement]) -> list[Settlement]:
        """What could not be written."""
        for start in range(0, len(items), AT_ONCE):
            if not self._written(org_id, items[start : start + AT_ONCE]):
                return items[start:]
        return []

    def _written(self, org_id: str, items: list[Settlement]) -> bool:
        rows = [settlement.row() for settlement in items]
        try:
            as_system(self._context, org_id, lambda unit: reserving.settle(unit, rows))
        except Problem as problem:
            log.warning("usage cannot be written down yet: %s", problem.code)
            return False
        except Exception:
            # Kept for ever, rows that cannot be written would stand before all others: the sweep settles them.
            log.exception("usage is left to the sweep: %s", [row["id"] for row in rows][:20])
        return True
