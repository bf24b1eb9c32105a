"""Counts of calls as charts want them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from builderos.workloads.endpoints import charting
from builderos.workloads.endpoints.tally import BOUNDS_MS

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@dataclass
class Row:
    """A minute of a deployment: so many calls that took up to 1 ms, and one that took longer than all bounds."""

    minute: datetime
    fast: int
    errors: int = 0
    refused: int = 0

    @property
    def calls(self) -> int:
        return self.fast + 1

    @property
    def buckets(self) -> list[int]:
        return [0, self.fast, *([0] * (len(BOUNDS_MS) - 2)), 1]


def test_calls_are_spread_over_latencies_and_the_last_bucket_is_without_end() -> None:
    spread = charting.spread([Row(NOON, 3), Row(NOON, 4)])
    assert (spread[1].up_to_ms, spread[1].calls) == (1, 7)
    assert (spread[-1].up_to_ms, spread[-1].calls) == (None, 2)
    assert sum(one.calls for one in spread) == 9
    assert charting.spread([]) == []


def test_minutes_stand_by_themselves_and_a_week_of_them_is_drawn_in_two_hundred_places() -> None:
    rows = [Row(NOON + timedelta(minutes=n), 1, errors=1) for n in range(3)] + [Row(NOON, 2)]
    times = charting.over_time(rows, 60)
    assert [(one.at, one.calls, one.errors) for one in times] == [
        (NOON, 5, 1), (NOON + timedelta(minutes=1), 2, 1), (NOON + timedelta(minutes=2), 2, 1),
    ]  # fmt: skip
    assert times[0].p50_ms == 0.917
    week = [Row(NOON + timedelta(minutes=n), 1) for n in range(0, 10_080, 7)]
    assert len(charting.over_time(week, 10_080)) <= charting.MOST + 1
    assert sum(one.calls for one in charting.over_time(week, 10_080)) == 2 * len(week)
