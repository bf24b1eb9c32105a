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


# What is read of the workbench, beside the tools of a workspace: for whoever may look at the organisation.
LOOKING: Final = frozenset({
    "listExperiments", "getExperiment", "searchExperimentRuns", "compareExperimentRuns", "getExperimentRun",
    "getExperimentSeries", "listExperimentFiles", "getExperimentSweep", "showLineage", "listDatasets", "showDataset",
    "listRegisteredModels", "showRegisteredModel", "listModelVersions", "showModelVersion", "listPromotions",
    "showPromotion", "listEndpoints", "showEndpoint", "endpointMetrics", "endpointLogs", "listWorkSessions",
    "showSession", "listApps", "showApp", "listAppReleases", "appLogs", "listBudgets",
    "listScoringJobs", "showScoringJob",
})  # fmt: skip
MAX_REPLY: Final = 100_000
_HINTS: Final = {
    "id": "Its id, as a list names it.",
    "name": "Its name, as a list names it.",
    "limit": "How many at most; fewer make a shorter answer.",
    "cursor": "next_cursor of the page before.",
}
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
        if self.operation.name in LOOKING:
            return actor is not None and actor.role not in ("sandbox", "share") and actor.profile != "minimal"
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
    return {
        o.name: _tool(o)
        for o in app.operations()
        if o.profile != "platform" or o.deciding or o.name in LOOKING
    }


def _tool(operation: Operation) -> Tool:
    schema = operation.body.model_json_schema()
    schema["properties"] = {
        n: s for n, s in schema.get("properties", {}).items() if n not in operation.implied
    }
    if operation.name in LOOKING:
        for name, field in schema["properties"].items():
            if name in _HINTS:
                field.setdefault("description", _HINTS[name])
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
    if isinstance(out.body, bytes) and operation.name in LOOKING and len(out.body) > MAX_REPLY:
        return Answer(_large(incoming), failed=True)
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


def _large(incoming: Incoming) -> Json:
    return Problem(
        "payload_too_large", f"the answer is longer than {MAX_REPLY} characters",
        hint="Ask for less: a smaller limit, one of them by its id, fewer runs or points.", limit=MAX_REPLY,
    ).as_dict(incoming.request_id)  # fmt: skip


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
