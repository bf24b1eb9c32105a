"""Doors to what people see of a run: its page, its events, its logs."""

from builderos.core.operations import Download, Live, Operations
from builderos.core.unit import Unit

from . import events_serve, logs_serve, view, view_context, view_files

routes = Operations("runs")
_EVENTS = "text/event-stream"


@routes.get("/v1/runs/{id}/view", "viewRun")
def view_run(unit: Unit, body: view.ViewIn) -> view.RunView:
    """Show a run's page: timeline, diff, artifacts, provenance and what waits for a person, in one reply."""
    return view.view(unit, body)


@routes.get("/v1/runs/{id}/diff", "showRunDiff")
def show_run_diff(unit: Unit, body: view_files.RunDiffIn) -> view_files.RunChanges:
    """Show what a run changed, or one of its steps, file by file."""
    return view_files.changes(unit, body)


@routes.get("/v1/runs/{id}/context", "showRunContext")
def show_run_context(unit: Unit, body: view_context.ContextIn) -> view_context.RunContext:
    """Show what the steps of a run share: artifacts, decisions with who made them and why, open questions."""
    return view_context.context(unit, body)


@routes.get("/v1/runs/{id}/events", "followRun", media_types=(_EVENTS,))
def follow_run(unit: Unit, body: events_serve.EventsIn) -> events_serve.RunEvents | Live:
    """Follow what happens in a run, as Server-Sent Events; the header Last-Event-ID goes on where a client was.

    The reply ends behind `run.ended`. It also ends after some minutes, and when the server stops: then come back.
    """
    return events_serve.run_events(unit, body)


@routes.get("/v1/runs/{id}/logs", "runLogs", media_types=(_EVENTS,))
def run_logs(unit: Unit, body: logs_serve.RunLogIn) -> logs_serve.RunLog | Live:
    """Read the logs of all steps of a run, or follow them all.

    Followed, each event `log` names its step; the header Last-Event-ID goes on where a client was.
    """
    return logs_serve.run_log(unit, body)


@routes.get("/v1/steps/{id}/logs", "stepLogs", media_types=("application/octet-stream", _EVENTS))
def step_logs(unit: Unit, body: logs_serve.StepLogIn) -> logs_serve.StepLog | Download | Live:
    """Read the log of a step by offset, by line or from its end, or follow it.

    Secrets were taken out when it was written. `text` is safe to print on a terminal; `raw` gives the bytes.
    """
    return logs_serve.step_log(unit, body)
