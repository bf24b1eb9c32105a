"""Operations on runs."""

from builderos.core.operations import Operations, Reply
from builderos.core.unit import Unit

from . import control, listing, reading, starting, tools
from .schema import (
    RunAnswerIn,
    RunControlIn,
    RunIn,
    RunList,
    RunListIn,
    RunOut,
    RunRerunIn,
    RunStarted,
    RunStartIn,
)
from .tools import AnswerRunIn, RunReply, RunStatusIn

routes = Operations("runs")


@routes.post("/v1/runs", "createRun", status=202, consequential=True)
def create_run(unit: Unit, body: RunStartIn) -> Reply[RunStarted]:
    """Start a pipeline, on a branch where it works on one."""
    return starting.start(unit, body)


@routes.get("/v1/runs", "listRuns")
def list_runs(unit: Unit, body: RunListIn) -> RunList:
    """List runs, newest first."""
    return listing.listed(unit, body)


@routes.get("/v1/runs/{id}", "showRun")
def show_run(unit: Unit, body: RunIn) -> RunOut:
    """Show one run with its steps."""
    return reading.show(unit, body)


@routes.post("/v1/runs/{id}/cancel", "cancelRun", status=202, consequential=True)
def cancel_run(unit: Unit, body: RunControlIn) -> Reply[RunOut]:
    """Cancel a run: what it runs is stopped with all its processes, what waits is given up."""
    return control.cancel(unit, body)


@routes.post("/v1/runs/{id}/pause", "pauseRun", status=202)
def pause_run(unit: Unit, body: RunControlIn) -> Reply[RunOut]:
    """Pause a run: nothing new begins, what runs comes to its end."""
    return control.pause(unit, body)


@routes.post("/v1/runs/{id}/resume", "resumeRun", status=202)
def resume_run(unit: Unit, body: RunControlIn) -> Reply[RunOut]:
    """Go on with a paused run, or ask again where nobody answered in time."""
    return control.resume(unit, body)


@routes.post("/v1/runs/{id}/rerun", "rerunRun", status=202, consequential=True)
def rerun_run(unit: Unit, body: RunRerunIn) -> Reply[RunStarted]:
    """Run again what a run that is over did, all of it or from one step on."""
    return control.rerun(unit, body)


@routes.post("/v1/runs/{id}/answer", "answerStep")
def answer_step(unit: Unit, body: RunAnswerIn) -> RunOut:
    """Answer the question that a step of a run asks."""
    return control.answer(unit, body)


@routes.post("/runs/start", "startRun", status=202, profile="standard", consequential=True)
def start_run(unit: Unit, body: RunStartIn) -> Reply[RunReply]:
    """Start a pipeline on your branch; runStatus tells how it goes."""
    return tools.start(unit, body)


@routes.post("/runs/status", "runStatus", effect="read", profile="standard")
def run_status(unit: Unit, body: RunStatusIn) -> RunReply:
    """Tell how a run goes: its steps, what failed and why, and what it asks you."""
    return tools.status(unit, body)


@routes.post("/runs/answer", "answerRun", profile="standard")
def answer_run(unit: Unit, body: AnswerRunIn) -> RunReply:
    """Answer what a run asks, so that it goes on."""
    return tools.answer(unit, body)
