"""Agents: look at them, give one a task, see what it does, steer it."""

import json
from typing import Any
from urllib.parse import quote

import click

from .caller import Caller
from .commands import Noun
from .options import fields, on_branch, paged
from .output import facts, plain
from .run_follow import follow_run

LIST = (("name", "NAME"), ("role", "ROLE"), ("version", "VERSION"), ("model", "MODEL"), ("source", "FROM"),
        ("description", "DESCRIPTION"))  # fmt: skip
COMMENTS = (("path", "PATH"), ("line", "LINE"), ("author_name", "BY"), ("said", "SAID"))
CALLS = (("n", "N"), ("kind", "KIND"), ("name", "NAME"), ("status", "STATUS"), ("said", "SAID"))
FACTS = ("name", "version", "role", "description", "prompt_ref", "model", "source")
_SHOWN = 100


@click.group("agent", cls=Noun)
def command() -> None:
    """List and show agents, give one a task, see what it does, steer it."""


@command.command("list")
@on_branch
@click.pass_obj
def list_(caller: Caller, repo: str | None, branch: str | None) -> int:
    """List agents: those that come with BuilderOS, and those of a branch."""
    client, place = caller.place(repo, branch)
    reply = client.call("GET", "/v1/agents", fields(**place))
    return caller.listing(reply, LIST, "There is no agent.")


@command.command()
@click.argument("name")
@click.option(
    "--file", "as_file", is_flag=True, help="Print the file alone, to be copied to agents/NAME.yaml."
)
@on_branch
@click.pass_obj
def show(caller: Caller, name: str, as_file: bool, repo: str | None, branch: str | None) -> int:
    """Show an agent: its prompt, its tools, how far it may go."""
    client, place = caller.place(repo, branch)
    reply = client.call("GET", f"/v1/agents/{quote(name, safe='')}", fields(**place))
    if as_file:
        return caller.show(reply, str(reply["content"]).rstrip("\n"))
    more = {"tools": ", ".join(reply["toolset"]), "limits": json.dumps(reply["limits"])}
    return caller.show(reply, [*facts(reply, FACTS), *(f"{key}: {value}" for key, value in more.items())])


@command.command()
@click.argument("name")
@click.argument("goal")
@click.option("--tests", metavar="COMMAND", help="Has to end well before anything is committed.")
@click.option("--no-commit", is_flag=True, help="Leave what it makes with the run.")
@click.option("-f", "--follow", "following", is_flag=True, help="Show what happens until it ends.")
@on_branch
@click.pass_obj
def run(
    caller: Caller, name: str, goal: str, tests: str | None, no_commit: bool, following: bool,
    repo: str | None, branch: str | None,
) -> int:  # fmt: skip
    """Give an agent a task on your branch."""
    client, place = caller.place(repo, branch)
    body: dict[str, Any] = fields(goal=goal, tests=tests, **place)
    if no_commit:
        body["commit"] = False
    reply = client.call("POST", f"/v1/agents/{quote(name, safe='')}/runs", body)
    if following:
        return follow_run(caller, client, reply["run_id"], wait=False)
    return caller.show(reply, reply["message"])


@command.command()
@click.argument("step")
@paged
@click.pass_obj
def calls(caller: Caller, step: str, limit: int, cursor: str | None) -> int:
    """Print what the agent of a step asked its model and did with its tools."""
    reply = caller.client(caller.repo_here()).call(
        "GET", f"/v1/steps/{quote(step, safe='')}/calls", fields(limit=limit, cursor=cursor)
    )
    for item in reply["items"]:
        item["said"] = plain(" ".join((item["text"] or ", ".join(item["asked"])).split())[:_SHOWN])
    return caller.listing(reply, CALLS, "No agent did anything in this step.")


@command.command()
@click.argument("step")
@click.argument("text")
@click.pass_obj
def tell(caller: Caller, step: str, text: str) -> int:
    """Tell a working agent something: it hears it before its next turn."""
    reply = caller.client(caller.repo_here()).call(
        "POST", f"/v1/steps/{quote(step, safe='')}/message", {"text": text}
    )
    return caller.show(reply, reply["message"])


@command.command()
@click.argument("step")
@click.pass_obj
def interrupt(caller: Caller, step: str) -> int:
    """Stop a working agent: it asks what it is to do; builderos answer goes on."""
    reply = caller.client(caller.repo_here()).call("POST", f"/v1/steps/{quote(step, safe='')}/interrupt", {})
    return caller.show(reply, reply["message"])


@command.command()
@click.argument("run")
@click.argument("place", metavar="PATH[:LINE]")
@click.argument("text")
@click.option("--old", is_flag=True, help="The line as it was before the run.")
@click.pass_obj
def comment(caller: Caller, run: str, place: str, text: str, old: bool) -> int:
    """Comment on a line that a run changed: its agent hears it, else the next one that does the run again."""
    path, _, line = place.rpartition(":")
    item = {"path": path, "line": int(line)} if path and line.isdecimal() else {"path": place}
    body = {"items": [{**item, "side": "old" if old else "new", "body": text}]}
    reply = caller.client(caller.repo_here()).call("POST", f"/v1/runs/{quote(run, safe='')}/comments", body)
    return caller.show(reply, reply["message"])


@command.command()
@click.argument("run")
@paged
@click.pass_obj
def comments(caller: Caller, run: str, limit: int, cursor: str | None) -> int:
    """Print what was said of lines that a run changed, oldest first."""
    path = f"/v1/runs/{quote(run, safe='')}/comments"
    reply = caller.client(caller.repo_here()).call("GET", path, fields(limit=limit, cursor=cursor))
    for item in reply["items"]:
        item["said"] = plain(" ".join(item["body"].split())[:_SHOWN])
    return caller.listing(reply, COMMENTS, "Nobody has commented on lines of this run.")
