"""The ordinary verbs of BuilderOS as tools: on the run's own branch, asked of the policy like everybody's calls."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError

from builderos.core.application import Application
from builderos.core.context import Context
from builderos.core.operations import Download, Live, Operation, Reply
from builderos.core.problems import Problem
from builderos.core.unit import Unit

from .tools import At, Result, Tool

MAX_CHARS: Final = 24_000
# Whose branch it is and who asks is known; a model says nothing about that.
_GIVEN: Final = (
    "repo_name",
    "branch",
    "reuse_token",
    "token",
    "idempotency_key",
    "org_slug",
    "repo_owner",
    "tool_version",
)
# Opening workspaces, deciding and starting more runs is for people and pipelines.
_NEVER: Final = frozenset(
    {"initSandbox", "initProject", "startRun", "answerRun", "runStatus", "listActions", "applyDesk"}
)


def offered(context: Context) -> Mapping[str, Operation]:
    """Operations that agents may be given: the tools of chat models that work on one branch, without those that a
    person has to be asked about in every client."""
    return {
        operation.name: operation
        for operation in context.get(Application).operations()
        if operation.profile in ("minimal", "standard") and not operation.consequential and not operation.deprecated
        and operation.name not in _NEVER and "branch" in operation.body.model_fields
        and operation.document is not None
    }  # fmt: skip


def tool_of(operation: Operation) -> Tool:
    """An operation as a tool."""
    schema = operation.body.model_json_schema()
    members = {name: one for name, one in schema.get("properties", {}).items() if name not in _GIVEN}
    wanted = [name for name in schema.get("required", []) if name in members]
    form: dict[str, Any] = {
        "type": "object",
        "properties": members,
        "required": wanted,
        "additionalProperties": False,
    }
    if "$defs" in schema:
        form["$defs"] = schema["$defs"]
    effect = "read" if operation.effect == "read" else "write"
    return Tool(
        operation.name, operation.summary, form, effect, inside=functools.partial(_call, operation),
        paths=paths_of if effect == "write" else lambda _: (), kind="verb", version=operation.version, rolls_back=True,
    )  # fmt: skip


def paths_of(args: Mapping[str, Any]) -> tuple[str, ...]:
    """Every path that arguments name, however deep: what a verb writes is not only what it calls path."""
    return tuple(sorted(set(_paths(args))))


def _paths(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, one in value.items():  # pyright: ignore[reportUnknownVariableType]
            yield from _paths(one, str(name))  # pyright: ignore[reportUnknownArgumentType]
    elif isinstance(value, list):
        for one in value:  # pyright: ignore[reportUnknownVariableType]
            yield from _paths(one, key)
    elif isinstance(value, str) and key in ("path", "paths", "file_path") and value:
        yield value


def _call(operation: Operation, unit: Unit, at: At, args: Mapping[str, Any]) -> Result:
    given: dict[str, Any] = dict(args)
    if at.work.branch_id is None:
        raise Problem("branch_required", "this run has no branch", hint="Start it with a branch.")
    fields = operation.body.model_fields
    given |= {
        name: value
        for name, value in (("repo_name", at.work.repo_name), ("branch", at.work.branch))
        if name in fields
    }
    try:
        body = operation.body.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Problem(
            "validation_failed", f"{where}: {first['msg']}", hint="Correct the arguments."
        ) from error
    answer = operation.handler(unit, body)
    reply = answer.body if isinstance(answer, Reply) else answer  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if isinstance(reply, Download | Live):
        raise Problem("validation_failed", "this reply is no text", hint="Ask for another form.")
    text = str(reply.model_dump_json(exclude_none=True))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    cut = "\n[cut]" if len(text) > MAX_CHARS else ""
    return Result(text[:MAX_CHARS] + cut)
