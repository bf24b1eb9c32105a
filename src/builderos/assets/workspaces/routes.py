"""Doors of the sandboxes and their files."""

from builderos.core.operations import Operations
from builderos.core.unit import Unit

from . import commit, files, history, sandboxes

routes = Operations("sandbox")


@routes.post("/sandbox/init", "initSandbox", profile="minimal", credential="optional")
def init_sandbox(unit: Unit, body: sandboxes.InitIn) -> sandboxes.SandboxOut:
    """Open your own safe workspace, or come back to it with your token."""
    return sandboxes.init_branch(unit, body)


@routes.post("/commit_and_log_output", "commit_and_log", profile="minimal")
def commit_and_log(unit: Unit, body: commit.CommitIn) -> commit.CommitOut:
    """Save files to your branch as one commit, with its entry in the changelog."""
    return commit.commit_and_log(unit, body)


@routes.post("/system/fetch_files", "fetchFiles", effect="read", profile="minimal")
def fetch_files(unit: Unit, body: files.FetchIn) -> files.FetchOut:
    """Read files of your branch or of main."""
    return files.fetch_files(unit, body)


@routes.post("/git/log", "gitLog", effect="read", profile="standard")
def git_log(unit: Unit, body: history.LogIn) -> history.LogOut:
    """Show what was done on a branch, newest first."""
    return history.log(unit, body)


@routes.post("/git/diff", "gitDiff", effect="read", profile="standard")
def git_diff(unit: Unit, body: history.DiffIn) -> history.DiffOut:
    """Show what differs between your branch and its start, main, or two commits."""
    return history.diff(unit, body)
