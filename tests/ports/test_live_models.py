"""Real models, for those who have keys; what they say costs money.

BUILDEROS_LIVE=1 with OPENAI_API_KEY (and OPENAI_BASE_URL) and the model in BUILDEROS_LIVE_OPENAI, or with
ANTHROPIC_API_KEY and BUILDEROS_LIVE_ANTHROPIC.
"""

import asyncio
import json
import os
from typing import Any

import pytest

from builderos.execution.gateway.counting import usage_in
from builderos.execution.gateway.files import shipped
from builderos.execution.gateway.ports import Ask, ModelProvider
from builderos.execution.gateway.schema import About
from builderos.integrations.anthropic.service import AnthropicProvider
from builderos.integrations.openai.service import OpenAIProvider

KINDS = {"openai": OpenAIProvider, "anthropic": AnthropicProvider}
NUMBER = {"type": "integer"}
SCHEMA = {"type": "object", "properties": {"a": NUMBER, "b": NUMBER}, "required": ["a", "b"]}
TOOL = {"type": "function", "function": {"name": "add", "parameters": SCHEMA}}
pytestmark = pytest.mark.skipif(os.environ.get("BUILDEROS_LIVE") != "1", reason="BUILDEROS_LIVE is not set")


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("tools", [True, False])
def test_a_real_model_answers_and_counts(kind: str, stream: bool, tools: bool) -> None:
    entry = shipped(os.environ).providers.get(kind)
    model = os.environ.get(f"BUILDEROS_LIVE_{kind.upper()}")
    if entry is None or not model:
        pytest.skip(f"no key or no model for {kind}")
    provider: ModelProvider = KINDS[kind](entry)
    key = os.environ[entry.keys[0].removeprefix("env:")] if entry.keys else None
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": "Add 1 and 2; use the tool if there is one."}],
    }
    body |= {"tools": [TOOL], "tool_choice": "required"} if tools else {}
    body |= {"stream": True, "stream_options": {"include_usage": True}} if stream else {}

    async def run() -> tuple[int, list[bytes]]:
        answer = await provider.send(Ask("chat", body, stream, key, About()))
        return answer.status, [chunk async for chunk in answer.chunks()]

    status, chunks = asyncio.run(run())
    assert status == 200, b"".join(chunks)
    counts = usage_in(chunks)
    assert counts is not None
    assert counts.input > 0
    assert counts.output > 0
    assert ('"add"' in b"".join(chunks).decode()) == tools
    if not stream:
        assert json.loads(b"".join(chunks))["choices"][0]["finish_reason"] in ("stop", "tool_calls")
