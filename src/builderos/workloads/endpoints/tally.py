"""How calls went: counted in memory, written down by the minute."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import aggregate_order_by, insert

from builderos.core.context import Context
from builderos.core.unit import Unit, as_system

from .model import calls
from .schema import Answered

BOUNDS_MS: Final = (
    0.5, 1, 1.5, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500, 750, 1000, 2000, 5000, 10000, 60000,
)  # fmt: skip
"""Upper ends of the buckets of the latency; one more is without end."""


@dataclass(slots=True)
class _Minute:
    endpoint_id: str
    calls: int = 0
    errors: int = 0
    refused: int = 0
    compared: int = 0
    differed: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_MS) + 1))


class Tally:
    """What this process has counted and not yet written down."""

    def __init__(self) -> None:
        self._minutes: dict[tuple[str, str, datetime], _Minute] = {}
        self._lock = threading.Lock()

    def count(
        self, org_id: str, endpoint_id: str, deployment_id: str, at: datetime, status: int, ms: float
    ) -> None:
        """One call that was answered with `status` after `ms`."""
        minute = at.replace(second=0, microsecond=0)
        bucket = next((n for n, bound in enumerate(BOUNDS_MS) if ms <= bound), len(BOUNDS_MS))
        with self._lock:
            found = self._minutes.setdefault((org_id, deployment_id, minute), _Minute(endpoint_id))
            found.calls += 1
            found.errors += status >= 500
            found.refused += 400 <= status < 500
            found.buckets[bucket] += 1

    def compare(self, org_id: str, endpoint_id: str, deployment_id: str, at: datetime, *, same: bool) -> None:
        """One answer of a shadow that was held against the one that was given."""
        with self._lock:
            key = (org_id, deployment_id, at.replace(second=0, microsecond=0))
            found = self._minutes.setdefault(key, _Minute(endpoint_id))
            found.compared += 1
            found.differed += not same

    def drop(self, org_id: str) -> None:
        """Forget what was counted of an organisation."""
        with self._lock:
            self._minutes = {key: found for key, found in self._minutes.items() if key[0] != org_id}

    def write(self, context: Context, org_id: str | None = None) -> None:
        """Write down what there is, of one organisation or of all; what could not be is kept for the next time.

        One that fails keeps the others from nothing. Raises what the first of them raised.
        """
        with self._lock:
            taken = {key: self._minutes.pop(key) for key in list(self._minutes) if org_id in (None, key[0])}
        wrong: Exception | None = None
        try:
            for org in sorted({key[0] for key in taken}):
                mine = {key: found for key, found in taken.items() if key[0] == org}
                try:
                    as_system(context, org, lambda unit, m=mine: _write(unit, m))
                except Exception as error:  # noqa: BLE001 - raised below
                    wrong = wrong or error
                else:
                    taken = {key: found for key, found in taken.items() if key[0] != org}
        finally:
            self._back(taken)
        if wrong is not None:
            raise wrong

    def _back(self, taken: dict[tuple[str, str, datetime], _Minute]) -> None:
        with self._lock:
            for key, found in taken.items():
                there = self._minutes.setdefault(key, _Minute(found.endpoint_id))
                there.calls += found.calls
                there.errors += found.errors
                there.refused += found.refused
                there.compared += found.compared
                there.differed += found.differed
                there.buckets = [a + b for a, b in zip(there.buckets, found.buckets, strict=True)]


def _write(unit: Unit, taken: dict[tuple[str, str, datetime], _Minute]) -> None:
    for (_, deployment_id, minute), found in sorted(taken.items()):
        values: dict[str, Any] = {
            "org_id": unit.org_id, "endpoint_id": found.endpoint_id, "deployment_id": deployment_id, "minute": minute,
            "calls": found.calls, "errors": found.errors, "refused": found.refused, "compared": found.compared,
            "differed": found.differed, "buckets": found.buckets,
        }  # fmt: skip
        c, one = calls.c, insert(calls).values(values)
        pairs = sa.func.unnest(c.buckets, one.excluded.buckets).table_valued("a", "b", with_ordinality="n")
        pairs = pairs.render_derived()
        both = sa.select(sa.func.array_agg(aggregate_order_by(pairs.c.a + pairs.c.b, pairs.c.n)))
        more = {
            name: c[name] + one.excluded[name]
            for name in ("calls", "errors", "refused", "compared", "differed")
        }
        unit.execute(one.on_conflict_do_update(
            index_elements=["org_id", "deployment_id", "minute"], set_=more | {"buckets": both.scalar_subquery()},
        ))  # fmt: skip


def lately(unit: Unit, endpoint_id: str, minutes: int) -> Sequence[Any]:
    """The rows of an endpoint in the last minutes."""
    c = calls.c
    since = unit.now - timedelta(minutes=minutes)
    return unit.execute(sa.select(calls).where(c.endpoint_id == endpoint_id, c.minute >= since)).all()


def answered(rows: Sequence[Any]) -> tuple[Answered, list[Answered]]:
    """How an endpoint did by its rows, and each of its deployments."""
    ids = sorted({row.deployment_id for row in rows}, reverse=True)
    each = [_summed(id_, [row for row in rows if row.deployment_id == id_]) for id_ in ids]
    return _summed(None, rows), each


def _summed(id_: str | None, rows: Sequence[Any]) -> Answered:
    buckets = [sum(column) for column in zip(*(row.buckets for row in rows), strict=True)]
    count, errors = sum(row.calls for row in rows), sum(row.errors for row in rows)
    return Answered(
        deployment_id=id_, calls=count, errors=errors, refused=sum(row.refused for row in rows),
        compared=sum(row.compared for row in rows), differed=sum(row.differed for row in rows),
        error_rate=errors / count if count else 0.0, p50_ms=share_of(buckets, 0.5), p95_ms=share_of(buckets, 0.95),
    )  # fmt: skip


def share_of(buckets: Sequence[int], share: float) -> float | None:
    """The latency that this share of the calls stayed below: straight within a bucket; None where there were none."""
    wanted, before, low = sum(buckets) * share, 0, 0.0
    if not wanted:
        return None
    for count, high in zip(buckets, (*BOUNDS_MS, BOUNDS_MS[-1]), strict=True):
        if before + count >= wanted:
            return round(low + (high - low) * (wanted - before) / count, 3)
        before, low = before + count, float(high)
    return low
