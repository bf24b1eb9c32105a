"""Chat completions, whole or streamed, as answers of OpenAI's Responses interface, its events in its order.

Source of the words: platform.openai.com/docs/api-reference/responses-streaming. Reasoning is left out.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final, cast

import orjson

from builderos.core.clock import utcnow

from .ports import NoAnswer
from .schema import Json

_SHORT: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}
_ECHOED: Final[Json] = {
    "instructions": None, "max_output_tokens": None, "metadata": {}, "parallel_tool_calls": True,
    "reasoning": {"effort": None, "summary": None}, "temperature": None, "text": {"format": {"type": "text"}},
    "tool_choice": "auto", "tools": [], "top_p": None, "truncation": "disabled", "user": None,
}  # fmt: skip
"""What a response repeats of its request, with what stands there where the request says nothing."""


def response_of(completion: Json, asked: Json) -> Json:
    """A whole completion as the response to `asked`. Raises `NoAnswer` for what is none."""
    try:
        choice: Json = completion["choices"][0]
        message, made = cast(Json, choice["message"]), str(completion["id"])
        output: list[Json] = []
        if message.get("content") or not message.get("tool_calls"):
            output.append(_message(f"msg_{made}_0", str(message.get("content") or "")))
        for call in cast(list[Json], message.get("tool_calls") or []):
            function: Json = call["function"]
            name = f"fc_{made}_{len(output)}"
            output.append(_call(name, str(call["id"]), str(function["name"]), str(function["arguments"])))
        return _response(
            _head(asked, made, str(completion["model"])), output, choice["finish_reason"], completion["usage"]
        )
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise NoAnswer("answered with what is no completion") from error


async def response_events(chunks: AsyncGenerator[bytes], asked: Json) -> AsyncGenerator[bytes]:
    """A stream of a completion, one event in each piece, as that of the response to `asked`.

    Raises `NoAnswer` where it breaks off or cannot be read.
    """
    told = Told(asked)
    async with aclosing(chunks):
        async for chunk in chunks:
            for event in _read(told, chunk):
                yield event


def _read(told: "Told", chunk: bytes) -> list[bytes]:
    data = chunk.removeprefix(b"data:").strip()
    try:
        events = told.end() if data == b"[DONE]" else told.read(orjson.loads(data))
        return [
            f"event: {event['type']}\ndata: ".encode() + orjson.dumps(event) + b"\n\n" for event in events
        ]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise NoAnswer("sent what is no part of a completion") from error


class Told:
    """What was told of one response so far; one item is open at a time, as with OpenAI."""

    def __init__(self, asked: Json) -> None:
        self._asked = asked
        self._head: Json = {}
        self._made = ""
        self._output: list[Json] = []
        self._open: Json | None = None
        self._pieces: list[str] = []  # of its text or its arguments
        self._of_call: int | None = None
        self._finish: str | None = None
        self._usage: Json = {}
        self._events: list[Json] = []
        self._number = 0

    def read(self, chunk: Json) -> list[Json]:
        """The events that a chunk makes."""
        if not self._head:
            self._begin(chunk)
        self._usage = chunk.get("usage") or self._usage
        for choice in cast(list[Json], chunk.get("choices") or []):
            delta = cast(Json, choice.get("delta") or {})
            if delta.get("content"):
                self._say(str(delta["content"]))
            for piece in cast(list[Json], delta.get("tool_calls") or []):
                self._ask(piece)
            self._finish = choice.get("finish_reason") or self._finish
        return self._taken()

    def end(self) -> list[Json]:
        """The last events. Raises `NoAnswer` where nothing was said that could end."""
        if not self._head or self._finish is None:
            raise NoAnswer("the stream ended in the middle")
        if not self._output and self._open is None:
            self._say("")
        self._close()
        response = _response(self._head, self._output, self._finish, self._usage)
        self._tell(f"response.{response['status']}", response=response)
        return self._taken()

    def _begin(self, chunk: Json) -> None:
        self._made = str(chunk["id"])
        self._head = _head(self._asked, self._made, str(chunk["model"]))
        begun: Json = {**self._head, "status": "in_progress", "output": [], "usage": None}
        self._tell("response.created", response=begun)
        self._tell("response.in_progress", response=begun)

    def _say(self, text: str) -> None:
        if self._open is None or self._open["type"] != "message":
            self._close()
            self._of_call = None
            self._open = _message(self._named("msg"), "")
            self._tell(
                "response.output_item.added", output_index=len(self._output),
                item={**self._open, "status": "in_progress", "content": []},
            )  # fmt: skip
            self._tell("response.content_part.added", **self._place(), part=_text(""))
        if text:
            self._pieces.append(text)
            self._tell("response.output_text.delta", **self._place(), delta=text, logprobs=[])

    def _ask(self, piece: Json) -> None:
        function = cast(Json, piece.get("function") or {})
        number = int(piece.get("index", 0))
        if self._open is None or self._of_call != number:
            if not piece.get("id") or not function.get("name"):
                raise NoAnswer("went on with a call of a tool that was over")
            self._close()
            self._of_call = number
            self._open = _call(self._named("fc"), str(piece["id"]), str(function["name"]), "")
            self._tell(
                "response.output_item.added", output_index=len(self._output),
                item={**self._open, "status": "in_progress"},
            )  # fmt: skip
        more = str(function.get("arguments") or "")
        if more:
            self._pieces.append(more)
            self._tell("response.function_call_arguments.delta", **self._place(), delta=more)

    def _close(self) -> None:
        item = self._open
        if item is None:
            return
        told = "".join(self._pieces)
        if item["type"] == "message":
            item = _message(item["id"], told)
            self._tell("response.output_text.done", **self._place(), text=told, logprobs=[])
            self._tell("response.content_part.done", **self._place(), part=_text(told))
        else:
            item = {**item, "arguments": told or "{}"}
            self._tell(
                "response.function_call_arguments.done", **self._place(), name=item["name"],
                arguments=item["arguments"],
            )  # fmt: skip
        self._tell("response.output_item.done", output_index=len(self._output), item=item)
        self._output.append(item)
        self._open, self._pieces = None, []

    def _named(self, prefix: str) -> str:
        return f"{prefix}_{self._made}_{len(self._output)}"

    def _place(self) -> Json:
        assert self._open is not None
        place = {"item_id": self._open["id"], "output_index": len(self._output)}
        return place | ({"content_index": 0} if self._open["type"] == "message" else {})

    def _tell(self, kind: str, **more: Any) -> None:
        self._events.append({"type": kind, "sequence_number": self._number, **more})
        self._number += 1

    def _taken(self) -> list[Json]:
        taken, self._events = self._events, []
        return taken


def _head(asked: Json, made: str, model: str) -> Json:
    echoed = {name: asked.get(name) if asked.get(name) is not None else v for name, v in _ECHOED.items()}
    return {
        "id": f"resp_{made}", "object": "response", "created_at": int(utcnow().timestamp()), "model": model,
        "error": None, "incomplete_details": None, "previous_response_id": None, "store": False, **echoed,
    }  # fmt: skip


def _response(head: Json, output: list[Json], finish: Any, usage: Json) -> Json:
    """The usage stands last: whoever counts takes the last one that an answer tells."""
    short = _SHORT.get(str(finish))
    ended: Json = (
        {"status": "incomplete", "incomplete_details": {"reason": short}}
        if short
        else {"status": "completed"}
    )
    if short and output:
        output = [*output[:-1], {**output[-1], "status": "incomplete"}]
    sent, made = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
    details = cast(Json, usage.get("prompt_tokens_details") or {})
    counted = {
        "input_tokens": sent,
        "input_tokens_details": {"cached_tokens": details.get("cached_tokens") or 0, "cache_write_tokens": 0},
        "output_tokens": made, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": sent + made,
    }  # fmt: skip
    return {**head, **ended, "output": output, "usage": counted}


def _message(name: str, text: str) -> Json:
    return {
        "type": "message",
        "id": name,
        "role": "assistant",
        "status": "completed",
        "content": [_text(text)],
    }


def _text(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _call(name: str, call_id: str, function: str, arguments: str) -> Json:
    return {"type": "function_call", "id": name, "call_id": call_id, "name": function, "arguments": arguments,
            "status": "completed"}  # fmt: skip
