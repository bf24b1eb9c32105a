"""Artifacts: what runs and people keep."""

import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from builderos.client import artifacts as transfer
from builderos.client.http import Json

from .caller import Caller
from .commands import Noun
from .options import fields, paged
from .output import facts

COLUMNS = (("id", "ARTIFACT"), ("path", "PATH"), ("size", "BYTES"), ("type", "TYPE"), ("run_id", "RUN"),
           ("created_at", "AT"), ("gone_why", "GONE"))  # fmt: skip
FACTS = ("id", "path", "type", "media_type", "size", "hash", "redacted", "run_id", "step_id", "created_by",
         "created_at", "expires_at", "gone_at", "gone_why")  # fmt: skip
TERMS = ("keep_days", "redact", "used_bytes", "max_bytes")


@click.group("artifacts", cls=Noun)
def command() -> None:
    """Send, fetch and list what runs and people keep."""


@command.command("list")
@click.option("--run", metavar="RUN", help="Only of this run.")
@click.option("--path", help="Only with this path.")
@click.option("--gone", is_flag=True, help="Those, too, whose content is gone.")
@paged
@click.pass_obj
def list_(caller: Caller, run: str | None, **more: Any) -> int:
    """List artifacts, newest first."""
    reply = caller.client().call("GET", "/v1/artifacts", fields(run_id=run, **more))
    return caller.listing(reply, COLUMNS, "There are no artifacts")


@command.command()
@click.argument("id_", metavar="ARTIFACT")
@click.pass_obj
def show(caller: Caller, id_: str) -> int:
    """Show one artifact."""
    reply = caller.client().call("GET", _path(id_))
    return caller.show(reply, facts(reply, FACTS))


@command.command()
@click.argument("id_", metavar="ARTIFACT")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="File; - for stdout.")
@click.pass_obj
def get(caller: Caller, id_: str, output: Path | None) -> int:
    """Fetch the content of an artifact; a broken fetch goes on where it was."""
    client = caller.client()
    found = client.call("GET", _path(id_))
    if output == Path("-"):
        for piece in client.stream("GET", f"{_path(id_)}/content"):
            sys.stdout.buffer.write(piece)
        return 0
    file = output or Path(str(found["path"]).rpartition("/")[2])
    if file.exists():
        raise click.UsageError(f"{file} is there already; name another file with --output")
    try:
        transfer.fetch(client, found, file)
    except transfer.Altered as error:
        raise click.ClickException(str(error)) from error
    return caller.show(found, f"{file}: {found['size']} bytes, {found['hash']}")


@command.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--path", help="Where it belongs; the file's name when left out.")
@click.option("--run", metavar="RUN", help="Run that it belongs to.")
@click.option("--type", "type_", help="What it is for, e.g. report or model.")
@click.option("--media-type", help="E.g. text/csv; guessed when left out.")
@click.option("--resume", metavar="UPLOAD", help="Go on with an upload that was broken off.")
@click.pass_obj
def put(
    caller: Caller, file: Path, path: str | None, run: str | None, type_: str | None, media_type: str | None,
    resume: str | None,
) -> int:  # fmt: skip
    """Send a file; what breaks off goes on where it was."""
    client = caller.client()
    if resume is None:
        more = {"run_id": run, "type": type_, "media_type": media_type}
        resume = str(transfer.begin(client, file, path or file.name, **more)["id"])
    try:
        made = transfer.send(client, resume, file)
    except BaseException:
        caller.say(f"To go on: builderos artifacts put {file} --resume {resume}")
        raise
    return caller.show(
        made, facts(made, ("id", "path", "media_type", "size", "hash", "redacted", "expires_at"))
    )


@command.command()
@click.argument("id_", metavar="ARTIFACT")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def delete(caller: Caller, id_: str, yes: bool) -> int:
    """End an artifact: its record stays, its content goes."""
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("this cannot be undone: say --yes")
        click.confirm(f"Delete the content of {id_}? This cannot be undone.", abort=True)
    reply = caller.client().call("DELETE", _path(id_))
    return caller.show(reply, f"{reply['path']} is gone")


@command.command()
@click.option("--pipeline", help="Only the term of this pipeline.")
@click.option(
    "--keep-days", type=click.IntRange(0, 36_500), help="Days; 0: for ever, or as the organisation has it."
)
@click.option("--redact", type=click.Choice(["all", "known", "off"]), help="What is taken out of texts.")
@click.option("--max-bytes", type=click.IntRange(0), help="Space for all artifacts.")
@click.pass_obj
def rules(caller: Caller, pipeline: str | None, **values: Any) -> int:
    """Show for how long artifacts are kept and what is taken out of them, or change it."""
    client, sent = caller.client(), fields(**values)
    if not sent:
        return _ruled(caller, client.call("GET", "/v1/artifacts/rules"))
    return _ruled(caller, client.call("POST", "/v1/artifacts/rules", fields(pipeline=pipeline) | sent))


def _ruled(caller: Caller, reply: Json) -> int:
    lines = facts(reply, TERMS)
    lines += [f"{item['pipeline']}: {item['keep_days'] or 'no'} days" for item in reply["pipelines"]]
    return caller.show(reply, lines)


@command.command()
@click.option("--to", required=True, metavar="URL", help="folder, or s3://bucket/prefix?endpoint=…&region=….")
@click.pass_obj
def move(caller: Caller, to: str) -> int:
    """Move the content of all artifacts of this server to another store; call it again after a break."""
    client, total = caller.client(), 0
    while True:
        reply = client.call("POST", "/v1/artifacts/move", {"to": to})
        total += reply["moved"]
        caller.say(f"{total} moved, {reply['left']} left")
        if not reply["left"] or not reply["moved"]:
            break
    caller.show(reply, [str(reply["message"]), *(f"not moved: {fault}" for fault in reply["faults"])])
    return 1 if reply["left"] else 0


def _path(id_: str) -> str:
    return f"/v1/artifacts/{quote(id_, safe='')}"
