"""Runs as a chat model uses them: start, look, answer; short words on what matters now."""

from typing import Annotated, Any, Final

from pydantic import Field

from builderos.assets.workspaces.service import BranchIn, BranchWriteIn
from builderos.core.operations import Reply
from builderos.core.problems import Problem
from builderos.core.schema import Line, Name, Prose, ToolOut
from builderos.core.unit import Unit

from . import control, reading, starting
from .rows import RunStatus
from .schema import RunAnswerIn, RunIn, RunOut, RunStartIn

_ERROR: Final = 300
_STEPS: Final = 50


class RunStatusIn(BranchIn):
    """Which run."""

    run_id: Annotated[Line, Field(description="The run, as startRun named it.")]


class AnswerRunIn(BranchWriteIn):
    """What you say to a run that asks."""

    run_id: Annotated[Line, Field(description="The run that asks.")]
    answer: Annotated[
        Prose, Field(description="Your answer; one of the choices where there are some.", max_length=20_000)
    ]
    step: Annotated[Name | None, Field(description="Step that asks, where several do.")] = None


class RunReply(ToolOut):
    """How a run stands."""

    run_id: str
    status: RunStatus
    steps: list[dict[str, Any]]
    asks: list[dict[str, Any]]
    commits: list[str]


def start(unit: Unit, body: RunStartIn) -> Reply[RunReply]:
    """Start, and show the run as it was written down."""
    made = starting.start(unit, body).body
    reply = reply_of(reading.shown(unit, made.run_id))
    return Reply(202, reply.model_copy(update={"message": f"{made.message} Ask runStatus how it goes."}))


def status(unit: Unit, body: RunStatusIn) -> RunReply:
    """How it goes now."""
    return reply_of(_there(reading.show(unit, RunIn(id=body.run_id)), body))


def answer(unit: Unit, body: AnswerRunIn) -> RunReply:
    """Answer, and show how it goes on."""
    said = RunAnswerIn(id=body.run_id, step=body.step, answer=body.answer)
    return reply_of(_there(control.answer(unit, said), body))


def _there(run: RunOut, body: BranchIn | BranchWriteIn) -> RunOut:
    """Raises `not_found` where the caller means a run on another branch."""
    if body.branch not in (None, run.branch) or body.repo_name not in (None, run.repo_name):
        raise Problem("not_found", "there is no such run on this branch", hint="Check run_id and branch.")
    return run


def reply_of(run: RunOut) -> RunReply:
    """A run in a chat: steps with what went wrong, questions with their choices."""
    steps = [
        {"name": step.name, "status": step.status}
        | ({"reason": step.reason, "error": step.error[:_ERROR]} if step.error else {})
        for step in run.steps[:_STEPS]
    ]
    asks = [
        {"step": step.name, **{key: step.waiting[key] for key in _TOLD if key in step.waiting}}
        for step in run.steps
        if step.waiting is not None and step.status in ("waiting_input", "waiting_approval")
    ]
    return RunReply(
        run_id=run.id, status=run.status, steps=steps, asks=asks, commits=run.provenance["commits"],
        repo_name=run.repo_name, branch=run.branch, message=_message(run, asks),
    )  # fmt: skip


_TOLD: Final = ("kind", "message", "choices", "approval_id", "expires_at")


def _message(run: RunOut, asks: list[dict[str, Any]]) -> str:
    where = f" on branch {run.branch} of {run.repo_name}" if run.branch else ""
    text = f"{run.pipeline_id}{where}: {run.status.replace('_', ' ')}."
    if run.detail:
        text += f" {run.detail}."
    questions = [f"{ask['step']} asks: {ask['message']}" for ask in asks if ask.get("kind") == "question"]
    if questions:
        text += " " + " ".join(questions) + " Answer with answerRun."
    elif asks:
        text += " It waits for an approval by an owner or a reviewer."
    return text
