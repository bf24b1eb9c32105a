"""Logs of steps on the terminal."""

import json
import sys
from typing import Any
from urllib.parse import quote

import click

from builderos.client.following import follow
from builderos.client.http import Client, Json

from .caller import Caller
from .commands import Verb
from .faults import INTERRUPTED
from .options import fields
from .output import plain
from .run_follow import path_of

_MOST = 64 * 1024


@click.command(cls=Verb)
@click.argument("id", metavar="STEP|RUN")
@click.option("-f", "--follow", "following", is_flag=True, help="Go on while it grows; Ctrl-C leaves.")
@click.option(
    "-n", "--tail", type=click.IntRange(1, 1000), help="Only the last lines, of a run those of each step."
)
@click.option("--line", type=click.IntRange(1), help="Of a step: from this line on.")
@click.option("--attempt", type=click.IntRange(1), help="Of a step: which attempt; the last one by default.")
@click.option("--raw", is_flag=True, help="Of a step: the bytes as they were printed, colours and all.")
@click.pass_obj
def logs(
    caller: Caller,
    id: str,
    following: bool,
    tail: int | None,
    line: int | None,
    attempt: int | None,
    raw: bool,
) -> int:
    """Print the log of a step, or of all steps of a run. What could steer a terminal is made harmless."""
    client = caller.client(caller.repo_here())
    of_run = id.startswith("run_")
    if of_run and (line or attempt or raw):
        raise click.UsageError("--line, --attempt and --raw are for the log of one step")
    path = path_of(id, "/logs") if of_run else f"/v1/steps/{quote(id, safe='')}/logs"
    if raw:
        client.save("GET", path, fields(raw=True, attempt=attempt, tail=tail, line=line), sys.stdout.buffer)
        return 0
    if following:
        return _follow(
            caller, client, path, fields(attempt=attempt, tail=None if of_run else tail, line=line)
        )
    if of_run:
        return _of_run(caller, client, path, tail)
    return _of_step(caller, client, path, fields(attempt=attempt, tail=tail, line=line))


def _of_step(caller: Caller, client: Client, path: str, query: Json) -> int:
    """Page by page to the end that there is now."""
    reply = client.call("GET", path, {**query, "limit": _MOST})
    if caller.json:
        click.echo(json.dumps(reply, ensure_ascii=False, indent=2))
        return 0
    while True:
        _write(str(reply["text"]))
        if reply["next_offset"] >= reply["size"] or reply["next_offset"] == reply["offset"]:
            break
        here = {"offset": reply["next_offset"], "limit": _MOST, **fields(attempt=query.get("attempt"))}
        reply = client.call("GET", path, here)
    if reply.get("note"):
        caller.say(str(reply["note"]))
    return 0


def _of_run(caller: Caller, client: Client, path: str, tail: int | None) -> int:
    items: list[Json] = []
    cursor: str | None = None
    named = ""
    while True:
        page = client.call("GET", path, fields(tail=tail, cursor=cursor, limit=_MOST))
        if caller.json:
            items += page["items"]
        for item in () if caller.json else page["items"]:
            if item["name"] != named:
                named = item["name"]
                click.echo(plain(f"== {named} (attempt {item['attempt']})"))
            _write(str(item["text"]))
        cursor = page["next_cursor"]
        if cursor is None:
            break
    if caller.json:
        click.echo(json.dumps({"items": items}, ensure_ascii=False, indent=2))
    return 0


def _follow(caller: Caller, client: Client, path: str, query: Json) -> int:
    """As it comes. Of several steps each piece is preceded by the name of its step; as JSON one object per line."""
    named: Any = None
    try:
        for said in follow(client, path, {**query, "follow": True}, over=lambda said: said.type == "end"):
            if caller.json:
                click.echo(json.dumps({"event": said.type, **said.data}, ensure_ascii=False))
                continue
            if said.data.get("name") not in (None, named) and path.startswith("/v1/runs/"):
                named = said.data["name"]
                click.echo(plain(f"== {named}"))
            _write(str(said.data.get("text", "")))
    except KeyboardInterrupt:
        click.echo("\nYou left; the run goes on", err=True)
        return INTERRUPTED
    return 0


def _write(text: str) -> None:
    """What the server made harmless, made harmless once more: the server may be somebody else's."""
    click.echo(plain(text), nl=False)
