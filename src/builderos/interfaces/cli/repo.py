"""Repositories."""

import click

from .caller import Caller
from .commands import Noun
from .options import fields, paged
from .start import import_repository, local_path

COLUMNS = (
    ("repo_name", "REPOSITORY"),
    ("repo_owner", "OWNER"),
    ("base_branch", "BASE"),
    ("head_sha", "MAIN"),
    ("id", "ID"),
)


@click.group("repo", cls=Noun)
def command() -> None:
    """Import and list repositories."""


@command.command("import")
@click.argument("source")
@click.option("--name", help="Name here.  [default: the last part of the source]")
@click.option("--source-branch", metavar="NAME", help="Branch to import.  [default: the one HEAD names]")
@click.pass_obj
def import_(caller: Caller, source: str, name: str | None, source_branch: str | None) -> int:
    """Import the default branch of SOURCE: a URL, or a folder of this machine."""
    reply = import_repository(caller.client(), local_path(source), name, source_branch)
    return caller.tell(reply, "repo_name", "repo_owner", "base_branch", "head_sha", "id")


@command.command("list")
@paged
@click.pass_obj
def list_(caller: Caller, limit: int, cursor: str | None) -> int:
    """List the repositories of this server."""
    reply = caller.client().call("GET", "/v1/repos", fields(limit=limit, cursor=cursor))
    return caller.listing(reply, COLUMNS, "There is no repository yet: builderos init")


@command.command("show")
@click.argument("repo")
@click.pass_obj
def show(caller: Caller, repo: str) -> int:
    """Show one repository, by its name or id."""
    reply = caller.client().call("GET", f"/v1/repos/{repo}")
    return caller.show(reply, [f"{name.replace('_', ' '):<14} {value}" for name, value in reply.items()])
