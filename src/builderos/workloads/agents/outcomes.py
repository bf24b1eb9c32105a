"""Calls of tools that were not done: what the journal has of them, and what the model is told."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from builderos.core.problems import Problem
from builderos.trust.policy import service as policy

from . import gate, journal
from .journal import Entry
from .tools import Tool

PASSING: Final = frozenset({"unavailable", "busy", "storage_full"})
MOST_SAID: Final = 2_000
MOST_NAME: Final = 100


def failed(entry: Entry, problem: Problem, rules: Sequence[str]) -> Entry:
    """A call that went wrong."""
    text = journal.storable(f"{problem.code}: {problem.told}")
    response = {"text": text, "code": problem.code}
    return replace(entry, status="failed", response=response, decision={"rules": list(rules)})


def misfit(n: int, name: str, said: str, problem: Problem) -> Entry:
    """A call that is not made, since nobody can tell what it would be. `said`: its arguments as they came, of which the
    journal has the hash, and the beginning."""
    name, said = journal.storable(name), journal.storable(said)
    digest = journal.digest_of(name, {"arguments": said})
    shown = {"arguments": said[:MOST_SAID]}
    return replace(
        failed(Entry(n, "tool", name[:MOST_NAME], digest, shown, "begun"), problem, ()), status="refused"
    )


def unusable(reply: Mapping[str, Any], misfit: str, answer: str) -> str:
    """Why the latest reply of a model is of no use. `misfit`: what was wrong with its last call; `answer`: the tool by
    which it has to answer, where it has to."""
    choices: Sequence[Mapping[str, Any]] = reply.get("choices") or ()
    choice: Mapping[str, Any] = choices[0] if choices else {}
    message: Mapping[str, Any] = choice.get("message") or {}
    calls: Sequence[Mapping[str, Any]] = message.get("tool_calls") or ()
    functions: list[Mapping[str, Any]] = [call.get("function") or {} for call in calls]
    if choice.get("finish_reason") == "length":
        return "its reply was cut off: it is longer than reply_tokens allows"
    if choice.get("finish_reason") == "content_filter":
        return "its provider holds the reply back"
    if misfit:
        return misfit
    if answer in [function.get("name") for function in functions]:
        return f"what it gives to {answer} is no JSON object"
    if message.get("content"):
        return f"it answers in text in place of {answer}" if answer else "its text is no answer"
    return "it says nothing"


def lost(name: str) -> Problem:
    """Nobody saw the end of it."""
    return Problem(
        "conflict", f"{name} was under way when the server was interrupted: nobody knows whether it was done",
        hint="Look at what there is before you do it again.",
    )  # fmt: skip


def rules_of(problem: Problem) -> tuple[str, ...]:
    """The rules that said no."""
    if isinstance(problem, policy.Refused):
        return problem.decision.rules
    return problem.rules if isinstance(problem, gate.Forbidden) else ()


def paths_of(tool: Tool, args: Mapping[str, Any]) -> tuple[str, ...]:
    """The paths that a call names; none where one of them is none."""
    try:
        return tool.paths(args)
    except Problem:
        return ()
