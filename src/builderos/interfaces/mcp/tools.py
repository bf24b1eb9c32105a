"""Operations as MCP tools, and one call of one tool. Knows nothing of the MCP library, which is slow to load."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from builderos.core.actor import Actor
from builderos.core.application import Application
from builderos.core.operations import Operation
from builderos.core.problems import Problem
from builderos.interfaces.http.serve import Incoming, as_fields, serve

log = logging.getLogger("builderos.mcp")
Json = dict[str, Any]
# A key reads with `read`; what it may write is said by further scopes. The policy decides; this only tidies the list.
_SCOPES: Final = {"promote": "promote"}


@dataclass(frozen=True)
class Tool:
    """One tool as `tools/list` shows it."""

    operation: Operation
    input_schema: Json
    output_schema: Json

    def allowed(self, actor: Actor | None) -> bool:
        """Whether it makes sense to show this tool to `actor`; to nobody in particular everything is shown."""
        if actor is None:
            return True
        if actor.profile == "minimal" and self.operation.profile != "minimal":
            return False
        if actor.role == "share":
            return self.operation.effect == "read"
        if actor.role == "api_key":
            write = _SCOPES.get(self.operation.name, "write")
            return ("read" if self.operation.effect == "read" else write) in actor.scopes
        return True


@dataclass(frozen=True)
class Answer:
    """What one call gave: a reply, or a problem document."""

    body: Json
    failed: bool


def tools_of(app: Application) -> dict[str, Tool]:
    """Every tool by its name, in the order of declaration."""
    return {o.name: _tool(o) for o in app.operations() if o.profile != "platform"}


def _tool(operation: Operation) -> Tool:
    schema = operation.body.model_json_schema()
    schema["properties"] = {
        n: s for n, s in schema.get("properties", {}).items() if n not in operation.implied
    }
    reply = TypeAdapter[Any](operation.reply).json_schema(mode="serialization")
    return Tool(operation, schema, {"type": "object", **reply})


def call(app: Application, operation: Operation, arguments: Mapping[str, Any], incoming: Incoming) -> Answer:
    """One call through the door that HTTP uses, too. A refusal is an answer, never an exception."""
    try:
        out = serve(app, operation, _body(operation, arguments), incoming)
    except Problem as problem:
        return Answer(problem.as_dict(incoming.request_id), failed=True)
    except Exception:
        log.exception("unexpected error in %s", incoming.request_id)
        crash = Problem("internal", "something went wrong on our side", hint="Report the request_id.")
        return Answer(crash.as_dict(incoming.request_id), failed=True)
    assert isinstance(out.body, bytes), "a download is no tool"
    return Answer(json.loads(out.body), failed=False)


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
