"""A schedule comes when it says, and patterns fit what they say."""

from datetime import UTC, datetime

import pytest

from builderos.execution.runs.definition import fits, next_after


@pytest.mark.parametrize(
    ("schedule", "after", "comes"),
    [
        ("0 3 * * *", "2026-11-21T02:59:59", "2026-11-21T03:00"),
        ("0 3 * * *", "2026-11-21T03:00:00", "2026-11-22T03:00"),
        ("*/15 * * * *", "2026-11-21T10:14:30", "2026-11-21T10:15"),
        ("5-20/5 9-17 * * 1-5", "2026-11-21T12:00:00", "2026-11-23T09:05"),
        ("0 0 1 1 *", "2026-11-21T12:00:00", "2027-01-01T00:00"),
        ("0 0 29 2 *", "2026-11-21T12:00:00", "2028-02-29T00:00"),
        ("0 0 13 * 5", "2026-11-21T12:00:00", "2026-11-27T00:00"),
        ("0 0 * * 0", "2026-11-21T12:00:00", "2026-11-22T00:00"),
        ("0 0 * * 7", "2026-11-21T12:00:00", "2026-11-22T00:00"),
        ("3,1 10/6 * * *", "2026-11-21T11:00:00", "2026-11-21T16:01"),
    ],
)
def test_a_schedule_comes_at_the_first_minute_that_fits(schedule: str, after: str, comes: str):
    start = datetime.fromisoformat(after).replace(tzinfo=UTC)

    assert next_after(schedule, start) == datetime.fromisoformat(comes).replace(tzinfo=UTC)


def test_a_day_that_no_month_has_never_comes():
    assert next_after("0 0 31 2 *", datetime(2026, 1, 1, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    ("pattern", "text", "does"),
    [
        ("main", "main", True),
        ("main", "main2", False),
        ("feature/*", "feature/a", True),
        ("feature/*", "feature/a/b", False),
        ("feature/**", "feature/a/b", True),
        ("**/x.py", "x.py", True),
        ("**/x.py", "a/b/x.py", True),
        ("a.c", "abc", False),
        ("v?", "v1", True),
        ("v?", "v/", False),
    ],
)
def test_a_pattern_fits_the_whole_text(pattern: str, text: str, does: bool):
    assert fits(pattern, text) is does


def test_no_pattern_is_slow():
    assert not fits("**a" * 100, "a" * 4_000 + "b" * 4_000)
