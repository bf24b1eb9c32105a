"""Opaque cursors that stay valid under writes: a cursor names the last row seen and the list it belongs to."""

import base64
import binascii
import hashlib
import json
from typing import Any, cast

from .problems import Problem


def list_key(name: str, **filters: Any) -> str:
    """A short fingerprint of one list with its filters: a cursor of another list is refused."""
    return hashlib.sha256(json.dumps([name, filters], sort_keys=True, default=str).encode()).hexdigest()[:12]


def encode_cursor(key: str, last: list[str | int]) -> str:
    """Make the cursor that continues after `last` in the list `key`."""
    raw = json.dumps([key, *last], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode_cursor(key: str, cursor: str | None, width: int = 1) -> list[Any] | None:
    """Read a cursor back: `width` values, or None for the first page. Raises `validation_failed` for a foreign one."""
    if cursor is None:
        return None
    try:
        if len(cursor) > 1000:
            raise ValueError
        got = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if not isinstance(got, list) or len(got) != width + 1 or got[0] != key:  # pyright: ignore[reportUnknownArgumentType]
            raise ValueError
        values = cast("list[Any]", got)[1:]
        if any(not isinstance(v, str | int) or (isinstance(v, str) and "\x00" in v) for v in values):
            raise ValueError
    except (ValueError, binascii.Error, UnicodeError, RecursionError):
        raise Problem(
            "validation_failed",
            "the cursor does not belong to this list",
            hint="Start again without a cursor.",
        ) from None
    return values
