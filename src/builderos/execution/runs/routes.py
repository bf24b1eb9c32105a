"""Operations on runs."""

from builderos.core.operations import Operations, Reply
from builderos.core.unit import Unit

from . import reading, starting
from .schema import RunIn, RunList, RunListIn, RunOut, RunStarted, RunStartIn

routes = Operations("runs")


@routes.post("/v1/runs", "createRun", status=202, consequential=True)
def create_run(unit: Unit, body: RunStartIn) -> Reply[RunStarted]:
    """Start a pipeline, on a branch where it works on one."""
    return starting.start(unit, body)


@routes.get("/v1/runs", "listRuns")
def list_runs(unit: Unit, body: RunListIn) -> RunList:
    """List runs, newest first."""
    return reading.listed(unit, body)


@routes.get("/v1/runs/{id}", "showRun")
def show_run(unit: Unit, body: RunIn) -> RunOut:
    """Show one run with its steps."""
    return reading.show(unit, body)
