"""Between the runtime's messages and OpenAI's JSON, in which requests are sent and replies are kept.

Imported when an agent works: it brings the runtime along.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    ModelResponsePart,
    SystemPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.usage import RequestUsage

Json = dict[str, Any]
MAX_CONTEXT: Final = 1_200_000  # characters; what is older goes first
_LEFT_OUT: Final = "[left out to save room; call the tool again if you need it]"
_KEPT: Final = 6


def messages_of(
    history: Sequence[ModelMessage], instructions: str, heard: Mapping[int, Sequence[str]]
) -> list[Json]:
    """The conversation in OpenAI's form; `heard`: what people said before a turn, by its number from 1."""
    found: list[Json] = [{"role": "system", "content": instructions}] if instructions else []
    turn = 0
    for message in history:
        if isinstance(message, ModelRequest):
            turn += 1
            for part in message.parts:
                found += _part(part)
            found += [{"role": "user", "content": text} for text in heard.get(turn, ())]
        else:
            found.append(_answer(message))
    return _shortened(found)


def _part(part: Any) -> Iterator[Json]:
    if isinstance(part, ToolReturnPart):
        yield {"role": "tool", "tool_call_id": part.tool_call_id, "content": part.model_response_str()}
    elif isinstance(part, UserPromptPart):
        yield {
            "role": "user",
            "content": part.content if isinstance(part.content, str) else str(part.content),
        }
    elif isinstance(part, SystemPromptPart):
        yield {"role": "system", "content": part.content}


def _answer(message: ModelResponse) -> Json:
    said = "".join(part.content for part in message.parts if isinstance(part, TextPart))
    asked = [
        {"id": part.tool_call_id, "type": "function",
         "function": {"name": part.tool_name, "arguments": part.args_as_json_str()}}
        for part in message.parts if isinstance(part, ToolCallPart)
    ]  # fmt: skip
    answer: Json = {"role": "assistant", "content": said or None}
    return answer | ({"tool_calls": asked} if asked else {})


def _shortened(found: list[Json]) -> list[Json]:
    """The oldest results of tools make room where the conversation is too long: the same ones each time."""
    size = sum(len(str(message.get("content") or "")) for message in found)
    if size <= MAX_CONTEXT:
        return found
    made = list(found)
    for at, message in enumerate(found[:-_KEPT]):
        if size <= MAX_CONTEXT:
            break
        if message["role"] == "tool" and len(message["content"]) > len(_LEFT_OUT):
            size -= len(message["content"]) - len(_LEFT_OUT)
            made[at] = message | {"content": _LEFT_OUT}
    return made


def request_of(messages: list[Json], params: ModelRequestParameters, options: Mapping[str, Any]) -> Json:
    """OpenAI's request."""
    tools = [_tool(tool) for tool in (*params.function_tools, *params.output_tools)]
    request: Json = {"messages": messages, **options}
    if tools:
        request["tools"] = tools
        request["parallel_tool_calls"] = False
        if not params.allow_text_output:
            request["tool_choice"] = "required"
    return request


def _tool(tool: ToolDefinition) -> Json:
    function = {
        "name": tool.name,
        "description": tool.description or "",
        "parameters": tool.parameters_json_schema,
    }
    return {"type": "function", "function": function}


def response_of(reply: Mapping[str, Any], turn: int) -> ModelResponse:
    """The reply as the runtime has it. What is no reply becomes an empty one, which it asks to be repeated."""
    choices: Sequence[Mapping[str, Any]] = reply.get("choices") or ()
    choice: Mapping[str, Any] = choices[0] if choices else {}
    message: Mapping[str, Any] = choice.get("message") or {}
    parts: list[ModelResponsePart] = []
    content: Any = message.get("content")
    if isinstance(content, str) and content:
        parts.append(TextPart(content))
    for number, call in enumerate(message.get("tool_calls") or (), 1):
        function: dict[str, Any] = dict(call.get("function") or {})
        id_ = str(call.get("id") or f"call_{turn}_{number}")
        arguments: Any = function.get("arguments")
        text = arguments if isinstance(arguments, str) else json.dumps(arguments or {})
        parts.append(ToolCallPart(str(function.get("name") or "")[:200], text or "{}", id_))
    usage: Mapping[str, Any] = reply.get("usage") or {}
    spent = RequestUsage(
        input_tokens=int(usage.get("prompt_tokens") or 0),
        output_tokens=int(usage.get("completion_tokens") or 0),
    )
    reason: Any = _REASONS.get(str(choice.get("finish_reason")))
    return ModelResponse(parts, usage=spent, model_name=str(reply.get("model") or ""), finish_reason=reason)


_REASONS: Final = {
    "stop": "stop", "length": "length", "tool_calls": "tool_call", "content_filter": "content_filter",
}  # fmt: skip
