"""Backups of branches."""

from urllib.parse import quote

import click

from .caller import Caller
from .commands import Noun
from .options import fields, on_branch, paged

COLUMNS = (
    ("backup_id", "BACKUP"),
    ("created_at", "TIME"),
    ("kind", "KIND"),
    ("scope", "SCOPE"),
    ("ref", "REF"),
)


@click.group("backup", cls=Noun)
def command() -> None:
    """Make, list and restore backups of a branch."""


@command.command()
@on_branch
@click.option("--key-files", is_flag=True, help="Only the project's key files instead of the whole branch.")
@click.pass_obj
def create(caller: Caller, repo: str | None, branch: str | None, key_files: bool) -> int:
    """Back a branch up."""
    client, body = caller.place(repo, branch)
    body["scope"] = "key_files" if key_files else "branch"
    reply = client.call("POST", "/system/backup", body, once=True)
    return caller.tell(reply, "backup_id", "ref", "file_count", "sha256")


@command.command("list")
@on_branch
@paged
@click.pass_obj
def list_(caller: Caller, repo: str | None, branch: str | None, limit: int, cursor: str | None) -> int:
    """List the backups of a branch, newest first."""
    client, body = caller.place(repo, branch)
    reply = client.call("POST", "/system/backup/list", body | fields(limit=limit, cursor=cursor))
    return caller.listing(reply, COLUMNS, "There is no backup yet: builderos backup create")


@command.command()
@click.argument("backup_id")
@on_branch
@click.pass_obj
def restore(caller: Caller, backup_id: str, repo: str | None, branch: str | None) -> int:
    """Bring a backup back as a new commit; nothing that came after it is lost."""
    client, body = caller.place(repo, branch)
    reply = client.call("POST", f"/system/backup/{quote(backup_id, safe='')}/restore", body, once=True)
    return caller.tell(reply, "commit_sha", "restored_files")
