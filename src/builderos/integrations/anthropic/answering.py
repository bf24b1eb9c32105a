"""Anthropic's messages, whole or streamed, as OpenAI's chat completions."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final, cast

from builderos.execution.gateway.ports import NoAnswer
from builderos.execution.gateway.schema import Json

_REASONS: Final = {
    "end_turn": "stop", "stop_sequence": "stop", "pause_turn": "stop", "max_tokens": "length",
    "model_context_window_exceeded": "length", "tool_use": "tool_calls", "refusal": "content_filter",
}  # fmt: skip
_MOST_EVENT: Final = 8 * 1024 * 1024


def completion_of(message: Json) -> Json:
    """A whole message. Raises `NoAnswer` for what is none."""
    try:
        blocks = cast(list[Json], message["content"])
        text = "".join(block["text"] for block in blocks if block["type"] == "text")
        calls = [
            {"id": block["id"], "type": "function",
             "function": {"name": block["name"], "arguments": json.dumps(block["input"])}}
            for block in blocks if block["type"] == "tool_use"
        ]  # fmt: skip
        said: Json = {"role": "assistant", "content": text or None}
        if calls:
            said["tool_calls"] = calls
        finish = _REASONS.get(str(message.get("stop_reason")), "stop")
        return {
            "id": message["id"], "object": "chat.completion", "created": 0, "model": message["model"],
            "choices": [{"index": 0, "message": said, "finish_reason": finish}], "usage": usage_of(message["usage"]),
        }  # fmt: skip
    except (KeyError, TypeError, AttributeError) as error:
        raise NoAnswer("answered with what is no message") from error


def usage_of(told: Json) -> Json:
    """OpenAI counts what was read from the cache among the prompt, Anthropic beside it."""
    cached = _number(told, "cache_read_input_tokens")
    sent = _number(told, "input_tokens") + _number(told, "cache_creation_input_tokens") + cached
    made = _number(told, "output_tokens")
    return {
        "prompt_tokens": sent, "completion_tokens": made, "total_tokens": sent + made,
        "prompt_tokens_details": {"cached_tokens": cached},
    }  # fmt: skip


def _number(told: Json, name: str) -> int:
    value = told.get(name)
    return value if type(value) is int else 0


class Streamed:
    """Their events, one after the other, as chunks of OpenAI's."""

    def __init__(self) -> None:
        self._head: Json = {"id": "", "object": "chat.completion.chunk", "created": 0, "model": ""}
        self._usage: Json = {}
        self._calls: dict[int, int] = {}
        self._finish: str | None = None
        self.over = False

    def read(self, event: Json) -> list[bytes]:
        """The chunks that an event makes. Raises `NoAnswer` for one that tells of a failure."""
        kind = event.get("type")
        if kind == "error":
            told = cast(Json, event.get("error") or {})
            raise NoAnswer(f"broke off: {str(told.get('message', ''))[:500]}")
        if kind == "message_start":
            message = cast(Json, event["message"])
            self._head |= {"id": message["id"], "model": message["model"]}
            self._usage |= cast(Json, message.get("usage") or {})
            return [self._chunk({"role": "assistant", "content": ""})]
        if kind == "content_block_start":
            return self._begin(event)
        if kind == "content_block_delta":
            return self._go_on(event)
        if kind == "message_delta":
            self._usage |= {
                key: v for key, v in cast(Json, event.get("usage") or {}).items() if v is not None
            }
            self._finish = _REASONS.get(str(cast(Json, event.get("delta") or {}).get("stop_reason")), "stop")
        if kind == "message_stop":
            self.over = True
            usage = _line(self._head | {"choices": [], "usage": usage_of(self._usage)})
            return [self._chunk({}, self._finish or "stop"), usage, b"data: [DONE]\n\n"]
        return []

    def _begin(self, event: Json) -> list[bytes]:
        block = cast(Json, event["content_block"])
        if block["type"] == "text" and block.get("text"):
            return [self._chunk({"content": block["text"]})]
        if block["type"] != "tool_use":
            return []
        number = self._calls[event["index"]] = len(self._calls)
        function = {"name": block["name"], "arguments": ""}
        call = {"index": number, "id": block["id"], "type": "function", "function": function}
        return [self._chunk({"tool_calls": [call]})]

    def _go_on(self, event: Json) -> list[bytes]:
        delta = cast(Json, event["delta"])
        if delta["type"] == "text_delta":
            return [self._chunk({"content": delta["text"]})]
        if delta["type"] == "thinking_delta":
            return [self._chunk({"reasoning_content": delta["thinking"]})]
        if delta["type"] == "input_json_delta" and event["index"] in self._calls:
            piece = {"index": self._calls[event["index"]], "function": {"arguments": delta["partial_json"]}}
            return [self._chunk({"tool_calls": [piece]})]
        return []

    def _chunk(self, delta: Json, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return _line(self._head | {"choices": [choice]})


async def chunks_of(coming: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """A stream of theirs as one of OpenAI's. Raises `NoAnswer` where it breaks off or cannot be read."""
    reader = Streamed()
    rest = b""
    async for data in coming:
        *lines, rest = (rest + data).split(b"\n")
        if len(rest) > _MOST_EVENT:
            raise NoAnswer("sent an event without an end")
        for line in (line for line in lines if line.startswith(b"data:")):
            for chunk in _read(reader, line[5:]):
                yield chunk
    if not reader.over:
        raise NoAnswer("the stream ended in the middle")


def _read(reader: Streamed, data: bytes) -> list[bytes]:
    try:
        found: Any = json.loads(data)
        return reader.read(cast(Json, found))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise NoAnswer("sent what is no event of a message") from error


def _line(chunk: Json) -> bytes:
    return b"data: " + json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
