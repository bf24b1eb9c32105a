"""Repositories."""

from urllib.parse import quote

import click

from builderos.client.http import Client

from .caller import Caller
from .commands import Noun
from .options import fields, paged
from .output import facts, table
from .start import import_repository, local_path

FACTS = ("repo_name", "repo_owner", "base_branch", "head_sha", "id")
COLUMNS = (
    ("repo_name", "REPOSITORY"), ("repo_owner", "OWNER"), ("base_branch", "BASE"), ("created_at", "SINCE"),
    ("id", "ID"),
)  # fmt: skip


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
    return caller.tell(reply, *FACTS)


@command.command("list")
@paged
@click.pass_obj
def list_(caller: Caller, limit: int, cursor: str | None) -> int:
    """List the repositories of this server."""
    reply = caller.client().call("GET", "/v1/repos", fields(limit=limit, cursor=cursor))
    return caller.listing(reply, COLUMNS, "There is no repository yet: builderos init")


@command.command()
@click.argument("name")
@click.pass_obj
def create(caller: Caller, name: str) -> int:
    """Make an empty repository."""
    reply = caller.client().call("POST", "/v1/repos", {"name": name}, once=True)
    return caller.tell(reply, *FACTS)


@command.command()
@click.argument("repo")
@click.pass_obj
def show(caller: Caller, repo: str) -> int:
    """Show one repository and its shared branches, by its name or id."""
    client = caller.client()
    reply = client.call("GET", f"/v1/repos/{_id(client, repo)}")
    branches = table(
        reply["branches"], (("name", "BRANCH"), ("kind", "KIND"), ("head_sha", "TIP"), ("state", "STATE"))
    )
    return caller.show(
        reply, [*facts(reply, (*FACTS, "source", "upstream_branch", "created_at")), "", branches]
    )


@command.command()
@click.argument("repo")
@click.argument("name")
@click.pass_obj
def branch(caller: Caller, repo: str, name: str) -> int:
    """Make a dev branch that sandboxes can be promoted to."""
    client = caller.client()
    reply = client.call("POST", f"/v1/repos/{_id(client, repo)}/branches", {"branch": name}, once=True)
    return caller.show(reply, f"{reply['name']} at {reply['head_sha'][:10]}")


@command.command()
@click.argument("repo")
@click.option("--record", is_flag=True, help="Also keep the answer in the ledger.")
@click.pass_obj
def protect(caller: Caller, repo: str, record: bool) -> int:
    """Say how the shared branches are protected; exit code 1 when main is not in every way."""
    client = caller.client()
    reply = client.call("POST", f"/v1/repos/{_id(client, repo)}/protect", {"dry_run": not record})
    columns = (("branch", "BRANCH"), ("direct_writes", "DIRECT WRITES"), ("force_pushes", "FORCE PUSHES"),
               ("deletion", "DELETION"), ("needs_approval", "NEEDS APPROVAL"))  # fmt: skip
    caller.show(reply, table(reply["branches"], columns))
    return 0 if reply["protected"] else 1


def _id(client: Client, name: str) -> str:
    """The id of a repository that is named by id, `name` or `owner/name`."""
    if name.startswith("repo_"):
        return quote(name, safe="")
    cursor: str | None = None
    while True:
        page = client.call("GET", "/v1/repos", {"limit": 200, "cursor": cursor})
        for item in page["items"]:
            if name in (item["repo_name"], f"{item['repo_owner']}/{item['repo_name']}"):
                return str(item["id"])
        cursor = page["next_cursor"]
        if cursor is None:
            raise click.UsageError(f"there is no repository {name}; see: builderos repo list")
