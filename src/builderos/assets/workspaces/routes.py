"""Doors of the sandboxes and their files."""

from builderos.core.operations import Operations
from builderos.core.unit import Unit

from . import commit, sandboxes

routes = Operations("sandbox")


@routes.post("/sandbox/init", "initSandbox", profile="minimal", credential="optional")
def init_sandbox(unit: Unit, body: sandboxes.InitIn) -> sandboxes.SandboxOut:
    """Open your own safe workspace, or come back to it with your token."""
    return sandboxes.init_branch(unit, body)


@routes.post("/commit_and_log_output", "commit_and_log", profile="minimal")
def commit_and_log(unit: Unit, body: commit.CommitIn) -> commit.CommitOut:
    """Save files to your branch as one commit, with its entry in the changelog."""
    return commit.commit_and_log(unit, body)
