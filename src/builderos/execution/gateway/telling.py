"""A stream of OpenAI's chunks as events: text as it comes, tool calls whole, usage and end, or what went wrong."""

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final, cast

from builderos.core.problems import Problem

from . import faults
from .framing import LAST
from .relaying import Relay
from .schema import NANO, Event, Json

_DATA: Final = b"data:"
_MOST_CALLS: Final = 256


@dataclass(slots=True)
class _Call:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list[str])


class _Reader:
    """Puts pieces together."""

    def __init__(self) -> None:
        self.finish = ""
        self.model = ""
        self._calls: dict[int, _Call] = {}

    def read(self, chunk: Json) -> list[Event]:
        """What one chunk brings. Raises `ValueError`, `TypeError` for what is none."""
        self.model = str(chunk.get("model") or self.model)
        found: list[Event] = []
        for choice in cast(list[Json], chunk.get("choices") or []):
            if choice.get("index", 0) != 0:
                continue
            delta = cast(Json, choice.get("delta") or {})
            text = delta.get("content")
            if text is not None and not isinstance(text, str):
                raise TypeError("content is no text")
            if text:
                found.append(Event("token", {"text": text}))
            for piece in cast(list[Json], delta.get("tool_calls") or []):
                self._add(piece)
            if choice.get("finish_reason"):
                self.finish = str(choice["finish_reason"])
                found += self.calls()
        return found

    def calls(self) -> list[Event]:
        """The tool calls that are whole by now."""
        calls, self._calls = self._calls, {}
        return [
            Event("tool_call", {"id": c.id, "name": c.name, "arguments": "".join(c.arguments)})
            for _, c in sorted(calls.items())
        ]

    def _add(self, piece: Json) -> None:
        index = piece.get("index", 0)
        if type(index) is not int or not 0 <= index < _MOST_CALLS:
            raise ValueError("has a tool call without a proper number")
        call = self._calls.setdefault(index, _Call())
        function = cast(Json, piece.get("function") or {})
        call.id = str(piece.get("id") or call.id)
        call.name += str(function.get("name") or "")
        call.arguments.append(str(function.get("arguments") or ""))


async def told(relay: Relay) -> AsyncIterator[Event]:
    """The events of an answer. Nothing follows `done` or `error`."""
    reader = _Reader()
    async with aclosing(relay.parts()) as chunks:
        try:
            async for event in _events(reader, chunks):
                yield event
        except Problem as problem:
            yield Event("error", problem.as_dict(relay.job.request_id) | {"usage_id": relay.id})
            return
        except (ValueError, TypeError, AttributeError) as error:
            relay.fail("upstream_failed")
            problem = faults.broken(
                relay.candidate.provider, str(error) or "sent what is no chunk of an answer"
            )
            yield Event("error", problem.as_dict(relay.job.request_id) | {"usage_id": relay.id})
            return
    for event in reader.calls():
        yield event
    counts = relay.counts
    yield Event(
        "usage",
        {
            "prompt_tokens": counts.input, "completion_tokens": counts.output, "cached_tokens": counts.cached,
            "total_tokens": counts.input + counts.output, "estimated": counts.estimated, "cost": relay.cost / NANO,
        },
    )  # fmt: skip
    yield Event(
        "done",
        {
            "finish_reason": reader.finish or "stop", "provider": relay.candidate.provider, "label": relay.label,
            "model": reader.model or relay.candidate.model, "usage_id": relay.id,
        },
    )  # fmt: skip


async def _events(reader: _Reader, chunks: AsyncIterator[bytes]) -> AsyncIterator[Event]:
    async for data in _payloads(chunks):
        for event in reader.read(cast(Json, json.loads(data))) if data != LAST else ():
            yield event


async def _payloads(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """What stands behind `data:`, line by line."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(_DATA):
                yield line[len(_DATA) :].strip()
    if rest.startswith(_DATA):
        yield rest[len(_DATA) :].strip()
