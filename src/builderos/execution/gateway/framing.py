"""Whole events of a stream, looked over before they are passed on: what is broken reaches nobody."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any, Final, cast

import orjson

from .schema import Json, Kind

LAST: Final = b"[DONE]"
_DATA: Final = b"data:"
_END: Final = re.compile(rb"(?:^|\n)data: ?\[DONE\][ \r]*(?:\n|$)")
_ENDED: Final = re.compile(rb'"type"\s*:\s*"response\.(?:completed|incomplete|failed)"')
_ENDS: Final = ("response.completed", "response.incomplete", "response.failed")
_MOST_SAID: Final = 1000


async def whole_events(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes, cut behind an event each time. What comes behind the last event is passed on at the end."""
    rest = bytearray()
    async for chunk in chunks:
        if not rest and chunk.endswith(b"\n\n"):
            yield chunk
            continue
        start = max(len(rest) - 3, 0)
        rest += chunk
        cut = max(rest.rfind(b"\n\n", start) + 2, rest.rfind(b"\r\n\r\n", start) + 4)
        if cut > 3:
            yield bytes(rest[:cut])
            del rest[:cut]
    if rest:
        yield bytes(rest)


def parted(data: bytes, kind: Kind = "chat") -> tuple[bytes, bytes]:
    """Whole events, and behind them the one that says that nothing follows, with whatever follows it."""
    if kind == "responses":
        return _ended(data)
    found = _END.search(data) if LAST in data else None
    if found is None:
        return data, b""
    at = found.start() + (data[found.start() : found.start() + 1] == b"\n")
    return data[:at], data[at:]


def _ended(data: bytes) -> tuple[bytes, bytes]:
    """Responses have no word of their own for the end: it is the event that brings them whole."""
    if _ENDED.search(data) is None:
        return data, b""
    begin = at = 0
    for line in data.split(b"\n"):
        if line.startswith(_DATA) and _ENDED.search(line):  # which other events may quote, deeper inside
            found = _object(line[len(_DATA) :].strip())
            if found is not None and found.get("type") in _ENDS:
                return data[:begin], data[begin:]
        at += len(line) + 1
        if not line.strip():
            begin = at
    return data, b""


def sound(data: bytes) -> tuple[bytes, str]:
    """The part of whole events that may be passed on, and what is wrong with the first event behind it."""
    begin = at = 0
    for line in data.split(b"\n"):
        fault = _fault(line[len(_DATA) :].strip()) if line.startswith(_DATA) else ""
        if fault:
            return data[:begin], fault
        at += len(line) + 1
        if not line.strip():
            begin = at
    return data, ""


def _fault(payload: bytes) -> str:
    if not payload or payload == LAST:
        return ""
    found = _object(payload)
    if found is None:
        return "sent what is no JSON object in the middle of its answer"
    error = found.get("error")
    return f"told of a failure in the middle of its answer: {_said(error)}" if error else ""


def _object(payload: bytes) -> Json | None:
    try:
        found: Any = orjson.loads(payload)
    except ValueError:
        try:  # a half of a sign outside the basic plane may be escaped alone, and its other half come next
            found = json.loads(payload)
        except (ValueError, RecursionError):
            return None
    return cast(Json, found) if isinstance(found, dict) else None


def _said(error: Any) -> str:
    found: Any = cast(Json, error).get("message", "") if isinstance(error, dict) else error
    return str(found)[:_MOST_SAID]
