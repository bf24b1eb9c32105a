"""The tools that a credential may use."""

import click

from .caller import Caller
from .commands import Verb
from .options import on_repo

COLUMNS = (
    ("name", "TOOL"),
    ("version", "VERSION"),
    ("group", "GROUP"),
    ("sensitivity", "SENSITIVITY"),
    ("summary", "SUMMARY"),
)


@click.command("tools", cls=Verb)
@on_repo
@click.pass_obj
def command(caller: Caller, repo: str | None) -> int:
    """List the tools that you may use, as a chat model or MCP client sees them."""
    client = caller.client(repo or (None if caller.given_token else caller.repo_here()))
    reply = client.call("POST", "/actions/list", {})
    return caller.listing(reply, COLUMNS, "There are no tools for this credential", reply["tools"])
