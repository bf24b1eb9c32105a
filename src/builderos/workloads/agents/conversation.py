"""One prompt to a foreign agent in the Agent Client Protocol (version 1, agentclientprotocol.com), from the client's
side. Nothing that it says decides: what it asks leave for goes through the gate, and the jail holds it in any case."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, cast

from builderos.core.problems import Problem
from builderos.execution.compute import service as compute

from . import foreign_tools
from .calls import Parked
from .limits import Reached
from .line import Line

_VERSION: Final = 1
_MOST_TEXT: Final = 100_000
_MOST_CALLS: Final = 500
_NO_METHOD, _BAD_PARAMS, _REFUSED, _LOG_IN = -32601, -32602, -32000, -32000
_KEY: Final = "; a key of its is a secret that the agent's file names: harness: {secrets: [NAME]}"
_CANCELLED: Final = {"outcome": {"outcome": "cancelled"}}

UseTool = Callable[[str, Mapping[str, Any]], Awaitable[tuple[bool, str]]]
Refuse = Callable[[str, str, Problem], Awaitable[None]]


class Answered(Reached):
    """The agent answers with an error; `code` is the protocol's."""

    def __init__(self, method: str, error: object) -> None:
        self.code = _mapping(error).get("code")
        keyless = self.code == _LOG_IN or method == "authenticate"
        super().__init__(
            "answer", f"the agent answers {method} with an error: {str(error)[:500]}{_KEY * keyless}"
        )


class Conversation:
    """`use` asks the gate and does what a tool does: whether it was done, and what it says. It raises what ends the
    session (`Parked`, `limits.Reached`). `refuse` writes down what cannot even be asked: name, parameters, why.
    `login`: the method by which the agent logs in."""

    def __init__(self, line: Line, use: UseTool, refuse: Refuse, login: str = "") -> None:
        self._line = line
        self._login = login
        self._use = use
        self._refuse = refuse
        self._id = 0
        self._session = ""
        self._text: list[str] = []
        self._length = 0
        self._updates: Counter[str] = Counter()
        self._calls: dict[str, dict[str, Any]] = {}
        self.stop = ""
        self.usage: Mapping[str, Any] = {}

    async def prompt(self, text: str) -> str:
        """The agent's answer: all that it says aloud. Raises `Reached` where none comes."""
        about = {
            "protocolVersion": _VERSION, "clientInfo": {"name": "builderos", "version": "1"},
            "clientCapabilities": {"fs": {"readTextFile": True, "writeTextFile": True}, "terminal": False},
        }  # fmt: skip
        hello = await self._ask("initialize", about)
        if hello.get("protocolVersion") != _VERSION:
            raise Reached(
                "answer", f"the agent speaks version {str(hello.get('protocolVersion'))[:20]} of ACP"
            )
        made = await self._opened()
        self._session = str(made.get("sessionId"))
        said = [{"type": "text", "text": text}]
        done = await self._ask("session/prompt", {"sessionId": self._session, "prompt": said})
        self.stop, usage = str(done.get("stopReason"))[:60], done.get("usage")
        self.usage = cast("Mapping[str, Any]", usage) if isinstance(usage, Mapping) else {}
        if self.stop != "end_turn":
            raise Reached("answer", f"the agent stopped without an answer: {self.stop}")
        return "".join(self._text)

    async def _opened(self) -> Mapping[str, Any]:
        """A session; where the agent wants to be told so first, it takes its credential from its environment."""
        about: dict[str, Any] = {"cwd": compute.WORKSPACE, "mcpServers": []}
        try:
            return await self._ask("session/new", about)
        except Answered as answered:
            if answered.code != _LOG_IN or not self._login:
                raise
        await self._ask("authenticate", {"methodId": self._login})
        return await self._ask("session/new", about)

    def record(self) -> dict[str, Any]:
        """What was said and done, for the journal."""
        shown = [
            {name: call.get(name) for name in ("title", "kind", "status")} for call in self._calls.values()
        ]
        return {
            "text": "".join(self._text), "stop_reason": self.stop, "updates": dict(self._updates), "tool_calls": shown,
        }  # fmt: skip

    async def _ask(self, method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        self._id += 1
        await self._line.say({"id": self._id, "method": method, "params": params})
        while True:
            message = await self._line.hear()
            if "method" in message:
                await self._asked(message)
            elif message.get("id") == self._id:
                break
        if (error := message.get("error")) is not None:
            raise Answered(method, error)
        return _mapping(message.get("result"))

    async def _asked(self, message: Mapping[str, Any]) -> None:
        method, params = str(message["method"]), _mapping(message.get("params"))
        if method == "session/update":
            self._update(_mapping(params.get("update")))
            return
        if "id" not in message:
            return  # notifications that are not known are to be passed over
        number = message["id"]
        if method == "session/request_permission":
            await self._permission(number, params)
        elif method in ("fs/read_text_file", "fs/write_text_file"):
            await self._file(number, method, params)
        else:
            none = Problem("tool_not_allowed", f"there is no {method[:100]} here", hint="Do without it.")
            await self._misfit(number, _NO_METHOD, method, params, none)

    def _update(self, update: Mapping[str, Any]) -> None:
        kind = str(update.get("sessionUpdate"))[:60]
        if kind in self._updates or len(self._updates) < 50:
            self._updates[kind] += 1
        if kind in ("tool_call", "tool_call_update"):
            self._known(update)
        text = _mapping(update.get("content")).get("text")
        if kind == "agent_message_chunk" and isinstance(text, str) and self._length < _MOST_TEXT:
            self._text.append(text[: _MOST_TEXT - self._length])
            self._length += len(text)

    def _known(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """A tool call as far as it was told of: an update names what has changed only."""
        number = str(told.get("toolCallId"))[:200]
        call = self._calls.get(number, {}) | {
            name: value for name, value in told.items() if value is not None
        }
        if number in self._calls or len(self._calls) < _MOST_CALLS:
            self._calls[number] = call
        return call

    async def _permission(self, number: Any, params: Mapping[str, Any]) -> None:
        call = self._known(_mapping(params.get("toolCall")))
        name, args = foreign_tools.request_of(call)
        try:
            if outside := foreign_tools.changed_outside(call):
                why = f"{outside[0][:200]} is not in the workspace"
                bad = Problem("invalid_path", why, hint="Use a path inside the workspace.")
                await self._refuse(name, json.dumps(dict(call)), bad)
                allowed = False
            else:
                allowed, _ = await self._use(name, args)
        except Parked:
            await self._line.say({"id": number, "result": _CANCELLED})
            raise
        # Once, never always: each call is asked of the policy.
        option = _option(params.get("options"), "allow_once" if allowed else "reject_once")
        outcome = (
            {"outcome": {"outcome": "selected", "optionId": option}} if option is not None else _CANCELLED
        )
        await self._line.say({"id": number, "result": outcome})

    async def _file(self, number: Any, method: str, params: Mapping[str, Any]) -> None:
        path, content = foreign_tools.inside(params.get("path")), params.get("content")
        writes = method == "fs/write_text_file"
        name = foreign_tools.WRITE if writes else foreign_tools.READ
        if path is None or (writes and not _is_text(content)):
            why = "no such path in the workspace, or no content that is text"
            bad = Problem("invalid_path", why, hint="Use a path inside the workspace.")
            await self._misfit(number, _BAD_PARAMS, name, params, bad)
            return
        done, text = await self._use(name, {"path": path, **({"content": content} if writes else {})})
        if not done:
            await self._no(number, _REFUSED, text)
            return
        result = {} if writes else {"content": _part(text, params.get("line"), params.get("limit"))}
        await self._line.say({"id": number, "result": result})

    async def _misfit(
        self, number: Any, code: int, name: str, params: Mapping[str, Any], problem: Problem
    ) -> None:
        """Say no to what fits nothing here, and have it written down: it counts like what could be asked."""
        await self._refuse(name, json.dumps(dict(params)), problem)
        await self._no(number, code, problem.detail)

    async def _no(self, number: Any, code: int, why: str) -> None:
        await self._line.say({"id": number, "error": {"code": code, "message": why[:2_000]}})


def _option(options: object, kind: str) -> str | None:
    found = cast("list[Any]", options) if isinstance(options, list) else []
    for option in map(_mapping, found):
        if option.get("kind") == kind:
            return str(option.get("optionId"))
    return None


def _is_text(content: object) -> bool:
    return isinstance(content, str) and "\0" not in content


def _part(text: str, line: object, limit: object) -> str:
    """Lines from `line` (from 1), at most `limit`."""
    first = line - 1 if isinstance(line, int) and line > 0 else 0
    lines = text.splitlines(keepends=True)[first:]
    return "".join(lines[:limit] if isinstance(limit, int) and limit >= 0 else lines)


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
