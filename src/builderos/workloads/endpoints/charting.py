"""The counts of calls as charts want them: how they spread over latencies, and over time."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from .schema import AnsweredAt, LatencyBucket
from .tally import BOUNDS_MS, share_of

MOST: Final = 200
"""Places in time, at most."""


def spread(rows: Sequence[Any]) -> list[LatencyBucket]:
    """Calls by latency, fastest first; none where nobody called."""
    counts = [sum(column) for column in zip(*(row.buckets for row in rows), strict=True)]
    return [
        LatencyBucket(up_to_ms=high, calls=count)
        for high, count in zip((*BOUNDS_MS, None), counts, strict=False)
    ]


def over_time(rows: Sequence[Any], minutes: int) -> list[AnsweredAt]:
    """Each minute in which somebody called, or as many of them together as leave `MOST` places, oldest first."""
    width = -(-minutes // MOST) * 60
    places: defaultdict[int, list[Any]] = defaultdict(list)
    for row in rows:
        places[int(row.minute.timestamp()) // width * width].append(row)
    found: list[AnsweredAt] = []
    for at, those in sorted(places.items()):
        buckets = [sum(column) for column in zip(*(row.buckets for row in those), strict=True)]
        found.append(AnsweredAt(
            at=datetime.fromtimestamp(at, UTC), calls=sum(row.calls for row in those),
            errors=sum(row.errors for row in those), refused=sum(row.refused for row in those),
            p50_ms=share_of(buckets, 0.5), p95_ms=share_of(buckets, 0.95),
        ))  # fmt: skip
    return found
