"""What is remembered beside the files: notes, facts, what happened."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from .caller import Caller
from .memory import command
from .options import fields, on_branch, paged
from .output import facts

COLUMNS = (("id", "MEMORY"), ("tier", "TIER"), ("fact", "FACT"), ("agent", "AGENT"), ("score", "SCORE"),
           ("body", "WHAT"))  # fmt: skip
FACTS = ("id", "tier", "fact", "body", "tags", "source", "shared", "agent", "run_id", "version", "pinned", "created_at",
         "changed_at", "expires_at")  # fmt: skip
VERSIONS = (("version", "VERSION"), ("act", "ACT"), ("at", "AT"), ("by", "BY"), ("body", "WHAT"))
TIERS = click.Choice(["short_term", "episodic", "semantic", "vector"])
_ITEMS = "/v1/memory/items"


def _whose(function: Any) -> Any:
    for option in (
        click.option("--run", "run_id", metavar="RUN", help="short_term: the run whose memory it is."),
        click.option("--agent", help="Agent whose memory it is; all agents' when left out."),
        click.option("--tier", type=TIERS, help="Which tier."),
    ):
        function = option(function)
    return function


@command.command()
@click.argument("text")
@click.option(
    "--fact", metavar="NAME", help="What the fact is about: a new version where it is known already."
)
@click.option("--tag", "tags", multiple=True, help="Tag; repeat for more.")
@click.option("--shared", is_flag=True, help="For everybody in the repository, not this branch alone.")
@click.option("--pinned", is_flag=True, help="Keep it whatever its term.")
@click.option("--ttl", "ttl_s", type=click.IntRange(1), metavar="SECONDS", help="Forget it after so long.")
@click.option("--path", help="File that says so.")
@_whose
@on_branch
@click.pass_obj
def remember(
    caller: Caller, text: str, fact: str | None, tags: tuple[str, ...], shared: bool, pinned: bool, path: str | None,
    repo: str | None, branch: str | None, **more: Any,
) -> int:  # fmt: skip
    """Remember something; secrets are taken out first."""
    client, body = caller.place(repo, branch)
    said = fields(fact=fact, tags=list(tags), source={"path": path} if path else None, **more)
    flags = {"shared": shared, "pinned": pinned} if pinned else {"shared": shared}
    reply = client.call("PUT", _ITEMS, fields(**body) | said | flags | {"body": text}, once=True)
    return caller.show(reply, facts(reply, FACTS))


@command.command()
@click.argument("question")
@click.option("-k", type=click.IntRange(1, 50), default=10, show_default=True, help="At most so many.")
@_whose
@on_branch
@click.pass_obj
def recall(caller: Caller, question: str, repo: str | None, branch: str | None, **more: Any) -> int:
    """Find what is remembered, the best first: by words and by meaning."""
    client, body = caller.place(repo, branch)
    reply = client.call("GET", _ITEMS, fields(**body) | fields(q=question, **more))
    return caller.listing(reply, COLUMNS, "Nothing that is remembered fits")


@command.command()
@_whose
@click.option("--tag", help="Only with this tag.")
@on_branch
@paged
@click.pass_obj
def items(caller: Caller, repo: str | None, branch: str | None, **more: Any) -> int:
    """List what is remembered, newest first; facts with --tier semantic."""
    client, body = caller.place(repo, branch)
    reply = client.call("GET", _ITEMS, fields(**body) | fields(**more))
    return caller.listing(reply, COLUMNS, "Nothing is remembered here")


@command.command()
@click.argument("id_", metavar="MEMORY")
@click.pass_obj
def show(caller: Caller, id_: str) -> int:
    """Show one thing that is remembered."""
    reply = caller.client(caller.repo_here()).call("GET", _at(id_))
    return caller.show(reply, facts(reply, FACTS))


@command.command()
@click.argument("id_", metavar="MEMORY")
@click.pass_obj
def forget(caller: Caller, id_: str) -> int:
    """Forget one thing; a fact comes back with `undo` for 30 days."""
    reply = caller.client(caller.repo_here()).call("DELETE", _at(id_))
    return caller.show(reply, str(reply["message"]))


@command.command()
@click.argument("id_", metavar="MEMORY")
@click.argument("seconds")
@click.pass_obj
def ttl(caller: Caller, id_: str, seconds: str) -> int:
    """Say for how many seconds a thing is remembered from now on; `never` takes the term away."""
    if seconds != "never" and not seconds.isdecimal():
        raise click.UsageError("say a number of seconds, or never")
    body = {} if seconds == "never" else {"ttl_s": int(seconds)}
    reply = caller.client(caller.repo_here()).call("POST", f"{_at(id_)}/ttl", body)
    return caller.show(reply, facts(reply, FACTS))


@command.command()
@click.argument("id_", metavar="MEMORY")
@click.pass_obj
def history(caller: Caller, id_: str) -> int:
    """Show what a fact was, version by version."""
    reply = caller.client(caller.repo_here()).call("GET", f"/v1/memory/facts/{quote(id_, safe='')}/history")
    return caller.listing(reply, VERSIONS, "It has no versions")


@command.command()
@click.argument("id_", metavar="MEMORY")
@click.option("--version", type=click.IntRange(1), help="Version; the one before the last when left out.")
@click.pass_obj
def undo(caller: Caller, id_: str, version: int | None) -> int:
    """Have an earlier version of a fact hold again."""
    client = caller.client(caller.repo_here())
    reply = client.call("POST", f"/v1/memory/facts/{quote(id_, safe='')}/undo", fields(version=version))
    return caller.show(reply, facts(reply, FACTS))


@command.command()
@click.option("--agent", help="Agent whose memory it is; all agents' when left out.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="File; printed when left out."
)
@on_branch
@click.pass_obj
def export(
    caller: Caller, agent: str | None, output: Path | None, repo: str | None, branch: str | None
) -> int:
    """Export the memory of an agent as its file holds it."""
    client, body = caller.place(repo, branch)
    reply = client.call("GET", "/v1/memory/export", fields(**body) | fields(agent=agent))
    text = json.dumps(reply, ensure_ascii=False, indent=1)
    if output is None:
        return caller.show(reply, text)
    if output.exists():
        raise click.UsageError(f"{output} is there already; name another file")
    output.write_text(text + "\n", encoding="utf-8")
    return caller.show(reply, f"{output}: {len(reply['items'])} things")


@command.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--agent", help="Agent whose memory it becomes; all agents' when left out.")
@click.option("--shared", is_flag=True, help="For everybody in the repository, not this branch alone.")
@on_branch
@click.pass_obj
def import_(
    caller: Caller, file: Path, agent: str | None, shared: bool, repo: str | None, branch: str | None
) -> int:
    """Take in the items of such a file; what is known already is not kept twice."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))["items"]
    except (ValueError, KeyError, TypeError) as error:
        raise click.UsageError(f"{file} is no file of a memory") from error
    client, body = caller.place(repo, branch)
    sums = {"added": 0, "changed": 0, "same": 0}
    for at in range(0, len(found), 500):
        sent = fields(**body) | fields(agent=agent) | {"shared": shared, "items": found[at : at + 500]}
        reply = client.call("POST", "/v1/memory/import", sent, once=True)
        sums = {name: count + reply[name] for name, count in sums.items()}
    return caller.show(sums, facts(sums, sums))


def _at(id_: str) -> str:
    return f"{_ITEMS}/{quote(id_, safe='')}"
