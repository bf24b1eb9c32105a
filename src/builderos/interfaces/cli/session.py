"""Sessions: notebooks and shells in a sandbox, on the files of a branch."""

import json
from collections.abc import Callable, Iterator

import click

from builderos.client.following import Said, follow
from builderos.client.http import Json

from .caller import Caller
from .commands import Noun
from .faults import INTERRUPTED
from .options import fields, on_branch, on_repo, paged
from .output import facts, plain

KINDS = ["notebook", "shell"]
EDITORS = ["jupyter", "marimo"]
STATUSES = ["starting", "running", "idle", "stopping", "stopped", "failed", "timed_out"]
COLUMNS = (("id", "SESSION"), ("kind", "KIND"), ("status", "STATUS"), ("branch", "BRANCH"), ("runtime", "RUNTIME"),
           ("profile", "PROFILE"), ("created_at", "CREATED"))  # fmt: skip
FACTS = ("kind", "editor", "status", "reason", "detail", "url", "repo_name", "branch", "runtime", "profile",
         "idle_timeout", "endpoints", "models", "starts", "checkpoint", "resources", "usage", "created_at",
         "started_at", "last_active_at",
         "ended_at")  # fmt: skip
OVER = frozenset({"session.stopped", "session.failed", "session.timed_out"})
_PIECE = 262_144


@click.group("session", cls=Noun)
def command() -> None:
    """Work in a notebook or a shell on the files of a branch (`builderos session start`)."""


@command.command()
@click.argument("kind", type=click.Choice(KINDS), default="notebook")
@click.option(
    "--editor", type=click.Choice(EDITORS), help="What serves it: jupyter, unless you say otherwise."
)
@click.option("--runtime", default="", help="An approved runtime; the first listed one otherwise.")
@click.option("--profile", default="", help="An approved size; the first listed one otherwise.")
@click.option("--idle-timeout", type=int, metavar="SECONDS", help="Without work for so long, it is stopped.")
@click.option("--endpoint", "endpoints", multiple=True, help="An endpoint it may call; repeat for more.")
@click.option("--model", "models", multiple=True, help="A model it may ask; repeat for more.")
@on_branch
@click.pass_obj
def start(
    caller: Caller, kind: str, editor: str | None, runtime: str, profile: str, idle_timeout: int | None,
    endpoints: tuple[str, ...], models: tuple[str, ...], repo: str | None, branch: str | None,
) -> int:  # fmt: skip
    """Start a notebook or a shell; `builderos session open` gives its address once it runs."""
    client, place = caller.place(repo, branch)
    body = place | fields(
        kind=kind, editor=editor, runtime=runtime or None, profile=profile or None, idle_timeout=idle_timeout,
        endpoints=list(endpoints) or None, models=list(models) or None,
    )  # fmt: skip
    reply = client.call("POST", "/v1/sessions", body, once=True)
    return caller.show(reply, [f"{reply['id']} is starting", *facts(reply, ("branch", "runtime", "profile"))])


@command.command("list")
@click.option("--kind", type=click.Choice(KINDS), help="Only these.")
@click.option("--status", type=click.Choice(STATUSES), help="Only these.")
@on_branch
@paged
@click.pass_obj
def list_(
    caller: Caller, kind: str | None, status: str | None, repo: str | None, branch: str | None, limit: int,
    cursor: str | None,
) -> int:  # fmt: skip
    """List sessions, newest first."""
    client, place = caller.place(repo, branch)
    query = place | fields(kind=kind, status=status, limit=limit, cursor=cursor)
    return caller.listing(client.call("GET", "/v1/sessions", query), COLUMNS, "There are no sessions")


@command.command()
@click.argument("session", metavar="SESSION")
@on_repo
@click.pass_obj
def show(caller: Caller, session: str, repo: str | None) -> int:
    """Show one session: how it stands, what was kept of its files, what it used."""
    reply = caller.client(repo or caller.repo_here()).call("GET", f"/v1/sessions/{session}")
    return caller.show(reply, [str(reply["id"]), *facts(reply, FACTS)])


@command.command("open")
@click.argument("session", metavar="SESSION")
@on_repo
@click.pass_obj
def open_(caller: Caller, session: str, repo: str | None) -> int:
    """Print the way into a session: an address for a browser, good for a quarter of an hour and for one use."""
    client = caller.client(repo or caller.repo_here())
    reply = client.call("POST", f"/v1/sessions/{session}/token", {}, once=True)
    return caller.show(reply, [str(reply["url"])])


@command.command()
@click.argument("session", metavar="SESSION")
@on_repo
@click.pass_obj
def checkpoint(caller: Caller, session: str, repo: str | None) -> int:
    """Commit the files of a session that runs to its branch now."""
    return _act(caller, session, "checkpoint", "", repo, "is being kept")


@command.command()
@click.argument("session", metavar="SESSION")
@click.option("--reason", default="", help="Why; kept with the session.")
@on_repo
@click.pass_obj
def stop(caller: Caller, session: str, reason: str, repo: str | None) -> int:
    """End a session; its files are kept, and committed to its branch."""
    return _act(caller, session, "stop", reason, repo, "is being stopped")


@command.command()
@click.argument("session", metavar="SESSION")
@on_repo
@click.pass_obj
def restart(caller: Caller, session: str, repo: str | None) -> int:
    """Start a session that is over again, with its files."""
    return _act(caller, session, "restart", "", repo, "is starting again")


@command.command()
@click.argument("session", metavar="SESSION")
@click.option("-f", "--follow", "following", is_flag=True, help="Go on until the session is over.")
@on_repo
@click.pass_obj
def logs(caller: Caller, session: str, following: bool, repo: str | None) -> int:
    """Print what the server of a session printed."""
    client = caller.client(repo or caller.repo_here())
    if following:
        path = f"/v1/sessions/{session}/logs"
        heard = follow(client, path, {"follow": True}, over=lambda said: said.type == "end")
        return _told(caller, heard, lambda said: str(said.data.get("text", "")))
    pieces: list[str] = []
    offset, more = 0, True
    while more:
        query = {"offset": offset, "limit": _PIECE}
        reply: Json = client.call("GET", f"/v1/sessions/{session}/logs", query)
        pieces.append(str(reply["text"]))
        more = offset < int(reply["next_offset"]) < int(reply["size"])
        offset = int(reply["next_offset"])
    text = "".join(pieces)
    return caller.show({"id": session, "text": text, "size": offset}, text.rstrip("\n"))


@command.command()
@click.argument("session", metavar="SESSION")
@click.option("-f", "--follow", "following", is_flag=True, help="Go on until the session is over.")
@on_repo
@paged
@click.pass_obj
def events(
    caller: Caller, session: str, following: bool, repo: str | None, limit: int, cursor: str | None
) -> int:
    """List what happened in a session; followed, also what it uses, one event per line as it comes."""
    client, path = caller.client(repo or caller.repo_here()), f"/v1/sessions/{session}/events"
    if not following:
        reply = client.call("GET", path, fields(stream=False, limit=limit, cursor=cursor))
        columns = (("seq", "SEQ"), ("at", "AT"), ("type", "TYPE"), ("payload", "WHAT"))
        return caller.listing(reply, columns, "Nothing yet")
    heard = follow(client, path, over=lambda said: said.type in OVER)
    return _told(
        caller, heard, lambda said: f"{said.id}  {said.type}  {said.data.get('payload') or said.data}\n"
    )


def _told(caller: Caller, heard: Iterator[Said], text: Callable[[Said], str]) -> int:
    try:
        for said in heard:
            line = {"event": said.type, **said.data}
            click.echo(
                json.dumps(line, ensure_ascii=False) + "\n" if caller.json else plain(text(said)), nl=False
            )
    except KeyboardInterrupt:
        click.echo("\nYou left; the session goes on", err=True)
        return INTERRUPTED
    return 0


def _act(caller: Caller, session: str, verb: str, reason: str, repo: str | None, said: str) -> int:
    client = caller.client(repo or caller.repo_here())
    reply = client.call("POST", f"/v1/sessions/{session}/{verb}", fields(reason=reason or None), once=True)
    return caller.show(reply, [f"{reply['id']} {said}"])
