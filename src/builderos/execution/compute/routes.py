"""Doors of compute: what may run, who runs it, what was run."""

from builderos.core.operations import Operations
from builderos.core.unit import Unit

from . import views

routes = Operations("compute")


@routes.get("/v1/runtimes", "listRuntimes")
def list_runtimes(unit: Unit, body: views.ListedIn) -> views.RuntimeList:
    """List the runtimes and profiles that commands of runs may have."""
    return views.runtimes(unit, body)


@routes.get("/v1/providers", "listProviders")
def list_providers(unit: Unit, body: views.ListedIn) -> views.ProviderList:
    """List who runs commands, how firmly each holds them, and what it is known not to hold back."""
    return views.providers(unit, body)


@routes.get("/v1/sandbox-runs", "listSandboxRuns")
def list_sandbox_runs(unit: Unit, body: views.SandboxRunListIn) -> views.SandboxRunList:
    """List executions of commands: where, how they ended, what they used."""
    return views.executions(unit, body)
