"""Time: aware UTC inside, RFC 3339 with `Z` outside."""

from datetime import UTC, datetime


def utcnow() -> datetime:
    """The present instant, aware, UTC, whole milliseconds (what the wire format can carry)."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def rfc3339(at: datetime) -> str:
    """`2026-11-21T02:03:04.005Z`; a fraction only when there is one."""
    text = at.astimezone(UTC).isoformat(timespec="milliseconds" if at.microsecond else "seconds")
    return text.replace("+00:00", "Z")
