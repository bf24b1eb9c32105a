"""A request of OpenAI's Responses interface as a chat completion, for providers that know nothing else.

Source of the words: platform.openai.com/docs/api-reference/responses/create. What such a provider cannot do (keeping
conversations, tools that run at OpenAI) is refused by name; what only tunes a model is left out, reasoning too.
"""

from typing import Any, Final, cast

from .ports import Unfit
from .schema import Json

# What is taken over, or changes nothing in the answer of a provider that has no word for it.
_KNOWN: Final = frozenset({
    "model", "input", "instructions", "stream", "max_output_tokens", "temperature", "top_p", "parallel_tool_calls",
    "tools", "tool_choice", "text", "include", "store", "truncation", "metadata", "user", "safety_identifier",
    "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "service_tier", "reasoning",
    "stream_options", "max_tool_calls",
})  # fmt: skip
_TAKEN: Final = {
    "stream": "stream", "temperature": "temperature", "top_p": "top_p", "max_output_tokens": "max_completion_tokens",
    "parallel_tool_calls": "parallel_tool_calls",
}  # fmt: skip
_NOTHING_TO_SHOW: Final = "reasoning.encrypted_content"
"""Clients ask for it so as to send it back; where reasoning is left out there is none."""


def chat_of(body: Json) -> Json:
    """The chat completion that asks the same. Raises `Unfit` for what it cannot ask."""
    _refuse(body)
    chat: Json = {"model": body.get("model"), "messages": _messages(body)}
    chat |= {theirs: body[name] for name, theirs in _TAKEN.items() if body.get(name) is not None}
    user = body.get("safety_identifier") or body.get("user")
    if user:
        chat["user"] = user
    tools = [_tool(tool) for tool in _listed(body, "tools")]
    if tools:
        chat |= {"tools": tools, "tool_choice": _choice(body.get("tool_choice") or "auto")}
    form = _format(body.get("text"))
    return chat | ({"response_format": form} if form else {})


def _refuse(body: Json) -> None:
    unknown = sorted(name for name, value in body.items() if name not in _KNOWN and value)
    if unknown:
        raise Unfit(f"this provider knows no {', '.join(unknown)[:200]} in /responses")
    if body.get("store"):
        raise Unfit("this provider keeps no responses; leave store out, or say false")
    if body.get("truncation") not in (None, "disabled"):
        raise Unfit("this provider leaves nothing of a conversation out; truncation can only be disabled")
    wanted = [name for name in _listed(body, "include") if name != _NOTHING_TO_SHOW]
    if wanted:
        raise Unfit(f"this provider has nothing to include of {str(wanted[0])[:100]}")


def _listed(body: Json, name: str) -> list[Any]:
    value: Any = body.get(name)
    if value is not None and not isinstance(value, list):
        raise Unfit(f"{name} is no list")
    return cast(list[Any], value or [])


def _messages(body: Json) -> list[Json]:
    told: list[Json] = []
    instructions: Any = body.get("instructions")
    if instructions:
        if not isinstance(instructions, str):
            raise Unfit("instructions are no text")
        told.append({"role": "system", "content": instructions})
    given: Any = body.get("input")
    if isinstance(given, str):
        return [*told, {"role": "user", "content": given}]
    if not isinstance(given, list):
        raise Unfit("input is neither text nor a list of items")
    for number, item in enumerate(cast(list[Any], given)):
        if not isinstance(item, dict):
            raise Unfit(f"input[{number}] is no item")
        _add(told, cast(Json, item), f"input[{number}]")
    return told


def _add(told: list[Json], item: Json, where: str) -> None:
    kind = item.get("type", "message")
    if kind == "message":
        role = item.get("role")
        if role not in ("user", "assistant", "system", "developer"):
            raise Unfit(f"{where}: there is no role {str(role)[:40]!r}")
        told.append({"role": role, "content": _content(item.get("content"), where)})
    elif kind == "function_call":
        _said(told)["tool_calls"].append(
            {"id": _text_of(item, "call_id", where), "type": "function",
             "function": {"name": _text_of(item, "name", where), "arguments": item.get("arguments") or "{}"}}
        )  # fmt: skip
    elif kind == "function_call_output":
        result = _content(item.get("output"), where)
        told.append({"role": "tool", "tool_call_id": _text_of(item, "call_id", where), "content": result})
    elif kind != "reasoning":
        raise Unfit(f"{where}: this provider takes no items of the type {str(kind)[:60]!r}")


def _said(told: list[Json]) -> Json:
    """The turn of the model that calls belong to: its text and its calls are items of their own here."""
    if not told or told[-1]["role"] != "assistant":
        told.append({"role": "assistant", "content": None})
    told[-1].setdefault("tool_calls", [])
    return told[-1]


def _text_of(item: Json, name: str, where: str) -> str:
    value = item.get(name)
    if not isinstance(value, str) or not value:
        raise Unfit(f"{where}: {name} is missing")
    return value


def _content(content: Any, where: str) -> Any:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise Unfit(f"{where}: content is neither text nor a list of parts")
    return [_part(part, where) for part in cast(list[Any], content)]


def _part(part: Any, where: str) -> Json:
    told = cast(Json, part) if isinstance(part, dict) else {}
    kind = told.get("type")
    if kind in ("input_text", "output_text", "text"):
        return {"type": "text", "text": str(told.get("text") or "")}
    if kind == "refusal":
        return {"type": "text", "text": str(told.get("refusal") or "")}
    if kind == "input_image" and isinstance(told.get("image_url"), str):
        return {"type": "image_url", "image_url": {"url": told["image_url"]}}
    raise Unfit(f"{where}: this provider takes no parts of the type {str(kind)[:60]!r} like this one")


def _tool(tool: Any) -> Json:
    told = cast(Json, tool) if isinstance(tool, dict) else {}
    if told.get("type") != "function":
        raise Unfit(f"tools: this provider runs no {str(told.get('type'))[:60]!r}; there are functions alone")
    kept = ("name", "description", "parameters", "strict")
    return {"type": "function", "function": {name: told[name] for name in kept if told.get(name) is not None}}


def _choice(choice: Any) -> Any:
    if isinstance(choice, str):
        return choice
    told = cast(Json, choice) if isinstance(choice, dict) else {}
    if told.get("type") != "function":
        raise Unfit(f"there is no tool_choice {str(told.get('type'))[:60]!r} here")
    return {"type": "function", "function": {"name": told.get("name")}}


def _format(text: Any) -> Json | None:
    told: Any = cast(Json, text).get("format") if isinstance(text, dict) else None
    if not isinstance(told, dict):
        return None
    form = cast(Json, told)
    if form.get("type") != "json_schema":
        return form
    return {"type": "json_schema", "json_schema": {name: v for name, v in form.items() if name != "type"}}
