"""A chat completion as Anthropic's Messages interface wants it (platform.claude.com/docs/en/api/messages)."""

import json
import re
from typing import Any, Final, cast

from builderos.execution.gateway.ports import Unfit
from builderos.execution.gateway.schema import Json

_DATA_URL: Final = re.compile(r"data:([a-z]+/[a-z0-9.+-]+);base64,(.*)", re.DOTALL)
# What it has no word for, and what an answer would be wrong without.
_NOT_HERE: Final = (
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "audio",
    "modalities",
    "functions",
    "prediction",
)
_CHOICES: Final = {"auto": "auto", "none": "none", "required": "any"}


def request_of(body: Json, max_output: int) -> Json:
    """The request. What only tunes a model and has no counterpart (seed, penalties) is left out. Raises `Unfit`."""
    for name in _NOT_HERE:
        if body.get(name):
            raise Unfit(f"this provider knows no {name}")
    if (body.get("n") or 1) != 1:
        raise Unfit("this provider gives one answer at a time; leave n out")
    system, messages = _conversation(_objects(body, "messages"))
    wanted: Json = {
        "model": body["model"], "messages": messages,
        "max_tokens": body.get("max_completion_tokens") or body.get("max_tokens") or max_output,
    }  # fmt: skip
    if system:
        wanted["system"] = "\n\n".join(system)
    for name in ("temperature", "top_p", "stream"):
        if body.get(name) is not None:
            wanted[name] = body[name]
    stop = body.get("stop")
    if stop:
        wanted["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    if isinstance(body.get("user"), str):
        wanted["metadata"] = {"user_id": body["user"]}
    return wanted | _tools(body) | _format(body.get("response_format"))


def _conversation(given: list[Json]) -> tuple[list[str], list[Json]]:
    """What the system says, and turns that alternate: results of tools are the user's."""
    system: list[str] = []
    turns: list[Json] = []
    for message in given:
        role = message.get("role")
        if role in ("system", "developer"):
            system.append(_text(message.get("content")))
        elif role == "assistant":
            _say(turns, "assistant", _said(message))
        elif role == "tool":
            result = {"type": "tool_result", "tool_use_id": str(message.get("tool_call_id", "")),
                      "content": _result(message.get("content"))}  # fmt: skip
            _say(turns, "user", [result])
        elif role == "user":
            _say(turns, "user", _parts(message.get("content")))
        else:
            raise Unfit(f"there is no role {str(role)[:40]!r}")
    return system, turns


def _say(turns: list[Json], role: str, blocks: list[Json]) -> None:
    if not blocks:
        return
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] += blocks
    else:
        turns.append({"role": role, "content": blocks})


def _said(message: Json) -> list[Json]:
    blocks = _parts(message.get("content"))
    for call in _objects(message, "tool_calls"):
        function = _object(call, "function")
        blocks.append(
            {"type": "tool_use", "id": str(call.get("id", "")), "name": str(function.get("name", "")),
             "input": _arguments(function.get("arguments"))}
        )  # fmt: skip
    return blocks


def _arguments(text: Any) -> Json:
    """An object, as they want it; what a model wrote that is none stands in it as text."""
    try:
        found: Any = json.loads(text or "{}")
    except (TypeError, ValueError, RecursionError):
        return {"not_json": str(text)}
    return cast(Json, found) if isinstance(found, dict) else {"not_an_object": found}


def _parts(content: Any) -> list[Json]:
    if content is None or content == "":
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise Unfit("content is neither text nor a list of parts")
    return [block for part in cast(list[Any], content) for block in _part(part)]


def _part(part: Any) -> list[Json]:
    told = cast(Json, part) if isinstance(part, dict) else {}
    if told.get("type") in ("text", "refusal"):
        text = str(told.get("text") or told.get("refusal") or "")
        return [{"type": "text", "text": text}] if text else []
    if told.get("type") == "image_url":
        image: Any = told.get("image_url")
        url = str(cast(Json, image).get("url", "")) if isinstance(image, dict) else str(image)
        inline = _DATA_URL.fullmatch(url)
        source: Json = {"type": "url", "url": url}
        if inline is not None:
            source = {"type": "base64", "media_type": inline[1], "data": inline[2]}
        return [{"type": "image", "source": source}]
    raise Unfit(f"this provider takes no parts of the type {str(told.get('type'))[:40]!r}")


def _result(content: Any) -> str | list[Json]:
    """Of a tool: its text, or parts with pictures among them."""
    parts = _parts(content)
    return _text(content) if all(part["type"] == "text" for part in parts) else parts


def _text(content: Any) -> str:
    parts = _parts(content)
    if any(part["type"] != "text" for part in parts):
        raise Unfit("what the system says is text alone with this provider")
    return "".join(part["text"] for part in parts)


def _tools(body: Json) -> Json:
    wanted: Json = {}
    tools: list[Json] = []
    for tool in _objects(body, "tools"):
        if tool.get("type") != "function":
            raise Unfit("tools must be of the type function")
        function = _object(tool, "function")
        schema: Any = function.get("parameters") or dict[str, Any](type="object", properties={})
        made: Json = {"name": str(function.get("name", "")), "input_schema": schema}
        if function.get("description"):
            made["description"] = function["description"]
        tools.append(made)
    if not tools:
        return wanted
    choice: Any = body.get("tool_choice") or "auto"
    if isinstance(choice, str):
        if choice not in _CHOICES:
            raise Unfit(f"there is no tool_choice {choice[:40]!r}")
        chosen: Json = {"type": _CHOICES[choice]}
    else:
        named = _object(_object(body, "tool_choice"), "function")
        chosen = {"type": "tool", "name": str(named.get("name", ""))}
    if body.get("parallel_tool_calls") is False and chosen["type"] != "none":
        chosen["disable_parallel_tool_use"] = True
    return {"tools": tools, "tool_choice": chosen}


def _format(wanted: Any) -> Json:
    if not isinstance(wanted, dict) or cast(Json, wanted).get("type") in (None, "text"):
        return {}
    told = cast(Json, wanted)
    if told["type"] == "json_schema":
        schema: Any = _object(told, "json_schema").get("schema") or dict[str, Any]()
        return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
    raise Unfit(f"this provider has no response_format {str(told['type'])[:40]!r}; use json_schema")


def _objects(body: Json, name: str) -> list[Json]:
    """A list of objects, of which none may be there. Raises `Unfit` for anything else."""
    value: Any = body.get(name) or []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in cast(list[Any], value)):
        raise Unfit(f"{name} is no list of objects")
    return cast(list[Json], value)


def _object(body: Json, name: str) -> Json:
    value: Any = body.get(name) or {}
    if not isinstance(value, dict):
        raise Unfit(f"{name} is no object")
    return cast(Json, value)
