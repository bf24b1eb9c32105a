"""Completions as streams and streams as completions: what was kept in one form is asked for in the other."""

import json
from typing import Any, Final, cast

from builderos.execution.gateway.ports import Unfit
from builderos.execution.gateway.schema import Json

DONE: Final = b"data: [DONE]\n\n"
_PIECE: Final = 400  # characters of a text that one chunk of a stream has


def line(event: Json) -> bytes:
    """One event of a stream."""
    return b"data: " + json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def events_of(completion: Json) -> list[Json]:
    """The chunks that a completion can have come in."""
    head = {"id": completion.get("id", ""), "object": "chat.completion.chunk", "created": completion.get("created", 0),
            "model": completion.get("model", "")}  # fmt: skip
    found: list[Json] = []

    def add(index: int, delta: Json, finish: str | None = None) -> None:
        found.append({**head, "choices": [{"index": index, "delta": delta, "finish_reason": finish}]})

    for choice in cast(list[Json], completion.get("choices") or []):
        index, message = int(choice.get("index", 0)), cast(Json, choice.get("message") or {})
        add(index, {"role": "assistant", "content": ""})
        text = str(message.get("content") or "")
        for start in range(0, len(text), _PIECE):
            add(index, {"content": text[start : start + _PIECE]})
        for number, call in enumerate(cast(list[Json], message.get("tool_calls") or [])):
            add(index, {"tool_calls": [{"index": number, **call}]})
        add(index, {}, str(choice.get("finish_reason") or "stop"))
    found.append({**head, "choices": [], "usage": completion.get("usage") or {}})
    return found


def completion_of(events: list[Json]) -> Json:
    """The completion that came in these chunks. Raises `Unfit` for what is none."""
    found: Json = {"object": "chat.completion", "choices": [], "usage": {}}
    choices: dict[int, Json] = {}
    try:
        for event in events:
            found |= {key: event[key] for key in ("id", "created", "model") if event.get(key)}
            if event.get("usage"):
                found["usage"] = event["usage"]
            for part in cast(list[Json], event.get("choices") or []):
                _add(choices.setdefault(int(part.get("index", 0)), _empty()), part)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise Unfit("the recording holds what is no stream of a completion") from error
    for index, choice in sorted(choices.items()):
        message = choice["message"]
        calls = message.pop("calls")
        if calls:
            message["tool_calls"] = [calls[number] for number in sorted(calls)]
        message["content"] = message["content"] or None
        found["choices"].append({"index": index, **choice})
    return found


def _empty() -> Json:
    return {"message": {"role": "assistant", "content": "", "calls": {}}, "finish_reason": None}


def _add(choice: Json, part: Json) -> None:
    delta, message = cast(Json, part.get("delta") or {}), choice["message"]
    message["content"] += str(delta.get("content") or "")
    for piece in cast(list[Json], delta.get("tool_calls") or []):
        call = message["calls"].setdefault(
            piece.get("index", 0), {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        )
        function: Any = piece.get("function") or {}
        call["id"] = piece.get("id") or call["id"]
        for name in ("name", "arguments"):
            call["function"][name] += str(function.get(name) or "")
    choice["finish_reason"] = part.get("finish_reason") or choice["finish_reason"]
