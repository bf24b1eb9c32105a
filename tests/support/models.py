"""A model that a test writes: what it answers to which request, as a gateway would hand it on."""

import asyncio
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from builderos.core.context import Context
from builderos.core.unit import Call
from builderos.workloads.agents.ports import Turn

Json = dict[str, Any]
Answer = Callable[[Json, Turn], Json]


def use(*calls: tuple[str, Mapping[str, Any]], said: str = "") -> Json:
    """A reply that asks for tools."""
    asked = [
        {"id": f"call_{number}_{name}", "type": "function",
         "function": {"name": name, "arguments": json.dumps(dict(args))}}
        for number, (name, args) in enumerate(calls)
    ]  # fmt: skip
    return {
        "message": {"role": "assistant", "content": said or None, "tool_calls": asked},
        "finish_reason": "tool_calls",
    }


def say(text: str) -> Json:
    """A reply that ends the work."""
    return {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}


@dataclass
class Scripted:
    """Answers in order, by agent; a list that has ended is a fault of the test. `asked` keeps every request."""

    lines: dict[str, Sequence[Json | Answer]] = field(default_factory=dict[str, Sequence[Json | Answer]])
    asked: list[tuple[Turn, Json]] = field(default_factory=list[tuple[Turn, Json]])
    held: Callable[[Turn], bool] | None = None  # whether the reply may come now
    lock: threading.Lock = field(default_factory=threading.Lock)

    async def complete(self, context: Context, call: Call, request: Mapping[str, Any], turn: Turn) -> Json:
        del context, call
        with self.lock:
            self.asked.append((turn, json.loads(json.dumps(dict(request)))))
        if self.held is not None:
            while not self.held(turn):  # noqa: ASYNC110 - a test decides when
                await asyncio.sleep(0.01)
        line = self.lines[turn.agent][turn.number - 1]
        choice = line(dict(request), turn) if callable(line) else line
        return {
            "model": "scripted-1", "provider": "double", "label": "scripted",
            "choices": [{"index": 0, **choice}], "cost": 0.01,
            "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
        }  # fmt: skip

    def requests(self, agent: str) -> list[Json]:
        """What the model of an agent was asked."""
        return [request for turn, request in self.asked if turn.agent == agent]
