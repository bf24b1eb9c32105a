"""Comparing the times that files carry."""

from datetime import UTC, datetime
from functools import lru_cache


@lru_cache(4096)
def _parsed(value: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(value)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None  # a time that cannot be read is older than any


def instant(value: object) -> datetime | None:
    """The moment a stamp names (UTC where it names no zone); None if it is not a stamp."""
    return _parsed(value) if isinstance(value, str) else None
