"""Doors of the sandboxes and their files."""

from builderos.core.operations import Operations, Reply
from builderos.core.unit import Unit

from . import backups, commit, files, history, listing, promotion, pulls, sandboxes, scaffold, undo
from .manage_routes import admin_routes
from .manage_routes import routes as sandbox_routes
from .provenance_routes import routes as provenance_routes
from .task_routes import routes as task_routes

__all__ = ["admin_routes", "provenance_routes", "routes", "sandbox_routes", "task_routes"]

routes = Operations("sandbox")


@routes.post("/sandbox/init", "initSandbox", profile="minimal", credential="optional", secret_reply=True)
def init_sandbox(unit: Unit, body: sandboxes.InitIn) -> sandboxes.SandboxOut | scaffold.ProjectOut:
    """Open your own safe workspace or come back to it with your token (mode branch), or set up a project in it
    (mode project).
    """
    return scaffold.init_project(unit, body) if body.mode == "project" else sandboxes.init_branch(unit, body)


@routes.post("/sandbox/init_branch", "initBranch", credential="optional", deprecated=True, secret_reply=True)
def init_branch(unit: Unit, body: sandboxes.InitBranchIn) -> sandboxes.SandboxOut:
    """Open your own safe workspace, or come back to it (the same as initSandbox with mode branch)."""
    return sandboxes.init_branch(unit, body)


@routes.post("/get_started", "getStarted", credential="optional", deprecated=True, secret_reply=True)
def get_started(unit: Unit, body: sandboxes.InitBranchIn) -> sandboxes.SandboxOut:
    """Open your own safe workspace, or come back to it (the same as initSandbox with mode branch)."""
    return sandboxes.init_branch(unit, body)


@routes.post(
    "/project/init_project", "initProject", profile="minimal", credential="optional", deprecated=True
)
def init_project(unit: Unit, body: sandboxes.InitProjectIn) -> scaffold.ProjectOut:
    """Set up a project on your branch (the same as initSandbox with mode project)."""
    return scaffold.init_project(unit, body)


@routes.post("/commit_and_log_output", "commit_and_log", profile="minimal")
def commit_and_log(unit: Unit, body: commit.CommitIn) -> commit.CommitOut:
    """Save files to your branch as one commit, with its entry in the changelog."""
    return commit.commit_and_log(unit, body)


@routes.post("/system/fetch_files", "fetchFiles", effect="read", profile="minimal")
def fetch_files(unit: Unit, body: files.FetchIn) -> files.FetchOut:
    """Read files of your branch or of main."""
    return files.fetch_files(unit, body)


@routes.get("/v1/files", "listFiles")
def list_files(unit: Unit, body: listing.ListFilesIn) -> listing.ListFilesOut:
    """List what lies in one folder of your branch or of main."""
    return listing.list_files(unit, body)


@routes.post("/git/log", "gitLog", effect="read", profile="standard")
def git_log(unit: Unit, body: history.LogIn) -> history.LogOut:
    """Show what was done on a branch, newest first."""
    return history.log(unit, body)


@routes.post("/git/diff", "gitDiff", effect="read", profile="standard")
def git_diff(unit: Unit, body: history.DiffIn) -> history.DiffOut:
    """Show what differs between your branch and its start, main, or two commits."""
    return history.diff(unit, body)


@routes.post("/git/rollback_commit", "rollback", profile="standard", consequential=True)
def rollback(unit: Unit, body: undo.RollbackIn) -> undo.RollbackOut:
    """Undo one commit of your branch with a new commit; nothing is lost, and the undo can be undone."""
    return undo.rollback(unit, body)


@routes.post("/system/backup", "createBackup", profile="standard", status=201)
def create_backup(unit: Unit, body: backups.BackupIn) -> backups.BackupOut:
    """Back up your branch, or its key files."""
    return backups.create(unit, body)


@routes.post("/system/backup/list", "listBackups", effect="read", profile="standard")
def list_backups(unit: Unit, body: backups.BackupListIn) -> backups.BackupListOut:
    """List the backups of a branch, newest first."""
    return backups.listed(unit, body)


@routes.get("/system/backup", "getBackups", deprecated=True)
def get_backups(unit: Unit, body: backups.BackupListIn) -> backups.BackupListOut:
    """List the backups of a branch (with an Authorization header; otherwise use listBackups)."""
    return backups.listed(unit, body)


@routes.post("/system/backup/{id}/restore", "restoreBackup", profile="standard", consequential=True)
def restore_backup(unit: Unit, body: backups.RestoreIn) -> backups.RestoreOut:
    """Bring a backup back as a new commit on your branch."""
    return backups.restore(unit, body)


@routes.post("/git/promote", "promote", profile="standard", consequential=True, may_wait=True)
def promote(unit: Unit, body: promotion.PromoteIn) -> Reply[promotion.PromoteOut]:
    """Ask for your branch to be taken into main: opens a pull request with its checks and asks for an approval."""
    return promotion.promote(unit, body)


@routes.get("/v1/pulls", "listPulls")
def list_pulls(unit: Unit, body: pulls.PullListIn) -> pulls.PullList:
    """List promotions, newest first."""
    return pulls.listed(unit, body)


@routes.get("/v1/pulls/{id}", "getPull")
def get_pull(unit: Unit, body: pulls.PullIn) -> pulls.PullDetail:
    """Show one promotion with its diff and checks."""
    return pulls.show(unit, body)


@routes.post("/v1/pulls/{id}/reviews", "reviewPull", consequential=True)
def review_pull(unit: Unit, body: pulls.ReviewIn) -> pulls.Pull:
    """Comment on a promotion, approve or deny it."""
    return pulls.review(unit, body)


@routes.post("/v1/pulls/{id}/merge", "mergePull", consequential=True)
def merge_pull(unit: Unit, body: pulls.MergeIn) -> pulls.Pull:
    """Merge a promotion whose checks are green and which is approved where it must be."""
    return promotion.merge(unit, body)
