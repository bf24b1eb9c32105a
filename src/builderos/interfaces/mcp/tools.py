"""Operations as MCP tools, and one call of one tool. Knows nothing of the MCP library, which is slow to load."""

import base64
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from builderos.core.actor import Actor
from builderos.core.application import Application
from builderos.core.operations import Download, Live, Operation
from builderos.core.problems import Problem
from builderos.interfaces.http.actions import may_use
from builderos.interfaces.http.serve import Incoming, as_fields, serve
from builderos.trust.policy import service as policy

log = logging.getLogger("builderos.mcp")
Json = dict[str, Any]


MAX_FILE: Final = 70_000  # as base64 within the 100,000 characters of a tool's reply
_FILE: Final[Json] = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("filename", "media_type", "encoding", "content")},
    "required": ["filename", "media_type", "encoding", "content"],
}


@dataclass(frozen=True)
class Tool:
    """One tool as `tools/list` shows it."""

    operation: Operation
    input_schema: Json
    output_schema: Json

    def allowed(self, actor: Actor | None) -> bool:
        """Whether it makes sense to show this tool to `actor`; to nobody in particular everything is shown."""
        if self.operation.deciding:
            return actor is not None and bool(policy.approvals.roles_of(actor))
        if actor is not None and actor.role == "share":
            return self.operation.effect == "read"
        return actor is None or may_use(actor, self.operation)


@dataclass(frozen=True)
class Answer:
    """What one call gave: a reply, or a problem document."""

    body: Json
    failed: bool
    problem: Problem | None = None


def tools_of(app: Application) -> dict[str, Tool]:
    """Every tool by its name, in the order of declaration."""
    return {o.name: _tool(o) for o in app.operations() if o.profile != "platform" or o.deciding}


def _tool(operation: Operation) -> Tool:
    schema = operation.body.model_json_schema()
    schema["properties"] = {
        n: s for n, s in schema.get("properties", {}).items() if n not in operation.implied
    }
    reply = TypeAdapter[Any](operation.document).json_schema(mode="serialization")
    either = {"anyOf": [reply, _FILE], "$defs": reply.pop("$defs", {})} if operation.media_types else reply
    return Tool(operation, schema, {"type": "object", **either})


def call(app: Application, operation: Operation, arguments: Mapping[str, Any], incoming: Incoming) -> Answer:
    """One call through the door that HTTP uses, too. A refusal is an answer, never an exception."""
    try:
        out = serve(app, operation, _body(operation, arguments), incoming)
    except Problem as problem:
        return Answer(problem.as_dict(incoming.request_id), failed=True, problem=problem)
    except Exception:
        log.exception("unexpected error in %s", incoming.request_id)
        crash = Problem("internal", "something went wrong on our side", hint="Report the request_id.")
        return Answer(crash.as_dict(incoming.request_id), failed=True)
    if isinstance(out.body, bytes):
        return Answer(json.loads(out.body), failed=False)
    if isinstance(out.body, Live):
        raise RuntimeError(f"{operation.name} goes on for long: it is no tool")
    return _file(out.body, operation, incoming)


def _file(download: Download, operation: Operation, incoming: Incoming) -> Answer:
    """A download as one object: messages have no streams."""
    content = b""
    for chunk in download.chunks:
        content += chunk
        if len(content) > MAX_FILE:
            large = Problem(
                "payload_too_large", f"the file is larger than {MAX_FILE} bytes",
                hint=f"Ask for less, or fetch it over HTTP: {operation.method} {operation.path}.", limit=MAX_FILE,
            )  # fmt: skip
            return Answer(large.as_dict(incoming.request_id), failed=True)
    is_text = download.media_type.startswith("text/")
    text = content.decode() if is_text else base64.b64encode(content).decode()
    named = {"filename": download.filename, "media_type": download.media_type}
    return Answer({**named, "encoding": "utf-8" if is_text else "base64", "content": text}, failed=False)


def _body(operation: Operation, arguments: Mapping[str, Any]) -> Any:
    superfluous = [name for name in operation.implied if name in arguments]
    if superfluous:
        raise _unfit([{"field": name, "problem": "Extra inputs are not permitted"} for name in superfluous])
    try:
        return operation.body.model_validate({**arguments, **operation.implied})
    except ValidationError as error:
        raise _unfit(as_fields(error)) from None


def _unfit(fields: list[dict[str, str]]) -> Problem:
    return Problem(
        "validation_failed", "the arguments do not fit the schema", hint="See `fields`.", fields=fields[:50]
    )
