"""Scripts: answers that somebody wrote by hand, each for one turn of one agent, with what it takes for granted.

A request for which an answer was written, and which does not hold what the answer takes for granted, is an error that
says what differs: a script never pretends.
"""

import json
import threading
from pathlib import Path
from typing import Annotated, Any, Final, Literal, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from builderos.execution.gateway.ports import Unfit
from builderos.execution.gateway.schema import About, Json

MAX_BYTES: Final = 4 * 1024 * 1024
_Text = Annotated[str, Field(min_length=1, max_length=2000)]
_Texts = Annotated[tuple[_Text, ...], Field(max_length=50)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class When(_Strict):
    """Which request an answer is for. `turn` counts the requests of an agent in its step from 1; `prompt` is its name;
    `goal` is a text of the first message of the user.
    """

    agent: str | None = None
    turn: int | None = Field(default=None, ge=1)
    prompt: str | None = None
    goal: str | None = None


class Expect(_Strict):
    """What the answer takes for granted: texts in the conversation and in its last message, tools that are offered."""

    contains: _Texts = ()
    lacks: _Texts = ()
    last_role: Literal["user", "tool", "assistant", "system"] | None = None
    last_contains: _Texts = ()
    last_lacks: _Texts = ()
    tools: tuple[str, ...] = ()


class Call(_Strict):
    """A tool call."""

    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)


class Said(_Strict):
    """The answer."""

    content: str = ""
    tool_calls: tuple[Call, ...] = ()


class Line(_Strict):
    """One answer of a script."""

    id: str
    when: When = When()
    expect: Expect = Expect()
    reply: Said


class Script(_Strict):
    """A whole file. `label` has to say what it is."""

    version: Literal[1]
    label: Literal["scripted"]
    about: str
    replies: tuple[Line, ...]


class Scripts:
    """The scripts of a folder (`*.yaml`), read again when they change."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._mark: object = None
        self._lines: list[Line] = []

    def answer(self, body: Json, about: About) -> Json:
        """The completion that was written for this request. Raises `Unfit`, which says what differs."""
        messages = cast(list[Json], body.get("messages") or [])
        turn = about.turn or 1 + sum(message.get("role") == "assistant" for message in messages)
        meant = [line for line in self._current() if _is_for(line.when, about, turn, messages)]
        whose = f"turn {turn} of {about.agent or 'nobody in particular'}"
        if not meant:
            raise Unfit(f"the scripts hold nothing for {whose}")
        differences: list[str] = []
        for line in meant:
            found = _differs(line.expect, body, messages)
            if not found:
                return _completion(line, body, messages)
            differences.append(f"{line.id}: {found}")
        raise Unfit(f"no script fits {whose}: " + "; ".join(differences))

    def _current(self) -> list[Line]:
        with self._lock:
            files = sorted(self._folder.glob("*.yaml"))
            mark = tuple((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files)
            if mark != self._mark:
                self._lines = [line for file in files for line in read_script(file).replies]
                self._mark = mark
            return self._lines


def read_script(file: Path) -> Script:
    """One file. Raises `Unfit` for one that is not valid."""
    if file.stat().st_size > MAX_BYTES:
        raise Unfit(f"the script {file.name} has more than {MAX_BYTES} bytes")
    try:
        return Script.model_validate(yaml.safe_load(file.read_text()))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise Unfit(f"the script {file.name} cannot be read: {str(error)[:300]}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise Unfit(f"the script {file.name} is not valid: {where}: {first['msg']}") from None


def _is_for(when: When, about: About, turn: int, messages: list[Json]) -> bool:
    first = next((text_of(message) for message in messages if message.get("role") == "user"), "")
    prompt = (about.prompt or "").partition("@")[0]
    return (
        when.agent in (None, about.agent)
        and when.turn in (None, turn)
        and when.prompt in (None, prompt)
        and (when.goal is None or when.goal in first)
    )


def _differs(expect: Expect, body: Json, messages: list[Json]) -> str:
    """What of it does not hold; nothing where all of it does."""
    everything = "\n".join(text_of(message) for message in messages)
    last = messages[-1] if messages else {}
    said = text_of(last)
    tools = cast(list[Json], body.get("tools") or [])
    offered = {str(cast(Json, tool.get("function") or {}).get("name")) for tool in tools}
    found = [f"{text!r} is nowhere in the conversation" for text in expect.contains if text not in everything]
    found += [f"{text!r} is in the conversation" for text in expect.lacks if text in everything]
    if expect.last_role is not None and last.get("role") != expect.last_role:
        found.append(f"the last message is of {last.get('role')}, not of {expect.last_role}")
    found += [
        f"{text!r} is not in the last message, which is {said[:300]!r}"
        for text in expect.last_contains
        if text not in said
    ]
    found += [f"{text!r} is in the last message" for text in expect.last_lacks if text in said]
    found += [f"the tool {name} is not offered" for name in expect.tools if name not in offered]
    return ", ".join(found)


def text_of(message: Json) -> str:
    """The text of a message, whatever form its content has."""
    content: Any = message.get("content")
    if isinstance(content, str):
        return content
    parts = cast(list[Any], content) if isinstance(content, list) else []
    return "".join(str(cast(Json, part).get("text", "")) for part in parts if isinstance(part, dict))


def _completion(line: Line, body: Json, messages: list[Json]) -> Json:
    """Tokens are words here: nobody counted them."""
    said: Json = {"role": "assistant", "content": line.reply.content or None}
    if line.reply.tool_calls:
        said["tool_calls"] = [
            {"id": f"call_{line.id}_{number}", "type": "function",
             "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)}}
            for number, call in enumerate(line.reply.tool_calls, 1)
        ]  # fmt: skip
    sent = sum(len(text_of(message).split()) for message in messages)
    made = max(1, len(json.dumps(said, ensure_ascii=False).split()))
    return {
        "id": f"scripted-{line.id}", "object": "chat.completion", "created": 0, "model": body.get("model", ""),
        "system_fingerprint": "scripted",
        "choices": [
            {"index": 0, "message": said, "finish_reason": "tool_calls" if line.reply.tool_calls else "stop"}
        ],
        "usage": {"prompt_tokens": sent, "completion_tokens": made, "total_tokens": sent + made},
    }  # fmt: skip
