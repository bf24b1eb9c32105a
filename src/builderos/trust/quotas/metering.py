"""Counts calls in memory and writes the sums down every few seconds: a call costs no statement for being counted.

A process that is killed forgets what it counted since (some seconds of requests). Acts are counted off the ledger,
which forgets nothing.
"""

import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.core.clock import utcnow
from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.unit import Unit, as_system
from builderos.trust.ledger import service as ledger

from .model import error_usage, project_usage, tool_usage, usage

REFUSED: Final = frozenset({
    "approval_required", "budget_exceeded", "credits_exhausted", "forbidden_branch", "policy_denied",
    "protected_branch", "quota_exceeded", "rate_limited", "tool_not_allowed",
})  # fmt: skip
# Lines of the ledger that count as acts: type → column of the usage.
ACTS: Final = {
    "commit": "commits", "push": "commits", "merge": "merges", "sandbox.created": "sandboxes",
    "approval.decided": "approvals",
}  # fmt: skip
KEPT: Final = timedelta(days=400)
COUNTED: Final = ("requests", "writes", "refused", "failed", "busy_ms")
_OF_TOOLS: Final = ("calls", "failed", "busy_ms")

Sums = dict[tuple[date, str], list[int]]


@dataclass
class Pending:
    """What one organisation's calls amount to since it was written down: by day and actor, tool, code."""

    actors: Sums = field(default_factory=lambda: defaultdict(lambda: [0] * len(COUNTED)))
    tools: Sums = field(default_factory=lambda: defaultdict(lambda: [0] * len(_OF_TOOLS)))
    errors: Sums = field(default_factory=lambda: defaultdict(lambda: [0]))


class Meter:
    """The counts of this process that are not in the database yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: dict[str, Pending] = defaultdict(Pending)

    def count(self, org_id: str, actor: str, tool: str, *, write: bool, outcome: str, ms: float) -> None:
        """One call that has ended; `outcome` is `ok` or the code of its problem."""
        today, took = utcnow().date(), round(ms)
        refused = outcome in REFUSED
        with self._lock:
            pending = self._pending[org_id]
            mine, its = pending.actors[today, actor], pending.tools[today, tool]
            mine[0] += 1
            mine[1] += write
            mine[2] += refused
            mine[4] += took
            its[0] += 1
            its[2] += took
            if outcome != "ok":
                mine[3] += not refused
                its[1] += 1
                pending.errors[today, outcome][0] += 1

    def take(self) -> dict[str, Pending]:
        """All of it; counting begins anew."""
        with self._lock:
            taken, self._pending = self._pending, defaultdict(Pending)
            return taken

    def give_back(self, org_id: str, pending: Pending) -> None:
        """What could not be written down."""
        with self._lock:
            mine = self._pending[org_id]
            for key, sums in pending.actors.items():
                _add(mine.actors[key], sums)
            for key, sums in pending.tools.items():
                _add(mine.tools[key], sums)
            for key, sums in pending.errors.items():
                _add(mine.errors[key], sums)


def _add(sums: list[int], more: "list[int] | tuple[int, ...]") -> None:
    for index, value in enumerate(more):
        sums[index] += value


def flush(context: Context) -> None:
    """Write down what this process counted. What cannot be written now is kept for the next time; raises `Problem`."""
    meter = context.get(Meter)
    taken = meter.take()
    while taken:
        org_id, pending = taken.popitem()
        try:
            as_system(context, org_id, lambda unit, found=pending: _write(unit, found))
        except Problem:
            for left, more in ((org_id, pending), *taken.items()):
                meter.give_back(left, more)
            raise


def _write(unit: Unit, pending: Pending) -> None:
    # Sorted: two processes that write the same rows must not wait for each other crosswise.
    for (day, actor), sums in sorted(pending.actors.items()):
        add(unit, usage, {"day": day, "actor": actor}, dict(zip(COUNTED, sums, strict=True)))
    for (day, tool), sums in sorted(pending.tools.items()):
        add(unit, tool_usage, {"day": day, "tool": tool}, dict(zip(_OF_TOOLS, sums, strict=True)))
    for (day, code), sums in sorted(pending.errors.items()):
        add(unit, error_usage, {"day": day, "code": code}, {"calls": sums[0]})


def count_acts(unit: Unit, *, after: int, upto: int) -> None:
    """Add the acts of these lines of the ledger; the caller sees to it that each line is counted once."""
    found: dict[tuple[date, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for tally in ledger.tally(unit, after=after, upto=upto):
        if tally.type in ACTS:
            found[tally.day, tally.actor][ACTS[tally.type]] += tally.lines
    for (day, actor), sums in sorted(found.items()):
        add(unit, usage, {"day": day, "actor": actor}, sums)


def count_command(unit: Unit, actor: str, *, cpu_s: float) -> None:
    """One command of a run that ended, with the processor time that it used."""
    sums = {"commands": 1, "cpu_ms": round(cpu_s * 1000)}
    add(unit, usage, {"day": unit.now.date(), "actor": actor}, sums)


def add(unit: Unit, table: sa.Table, key: Mapping[str, Any], sums: Mapping[str, int]) -> None:
    """Add numbers to a row of sums."""
    statement = insert(table).values(org_id=unit.org_id, **key, **sums)
    more = {name: table.c[name] + statement.excluded[name] for name in sums}
    unit.execute(statement.on_conflict_do_update(index_elements=["org_id", *key], set_=more))


def sweep(unit: Unit) -> int:
    """Forget numbers of more than `KEPT` ago; returns how many rows of actors."""
    before = (unit.now - KEPT).date()
    for table in (tool_usage, error_usage, project_usage):
        unit.execute(sa.delete(table).where(table.c.day < before))
    return unit.execute(sa.delete(usage).where(usage.c.day < before)).rowcount
