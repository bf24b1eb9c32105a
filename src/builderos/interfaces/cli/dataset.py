"""Datasets: register, look at, fetch."""

import sys
from pathlib import Path
from urllib.parse import quote

import click

from builderos.client import artifacts as transfer

from .caller import Caller
from .commands import Noun
from .options import fields, on_branch, paged
from .output import facts, table

FILES = click.Path(exists=True, dir_okay=False, path_type=Path)
COLUMNS = (("ref", "DATASET"), ("kind", "KIND"), ("count", "FILES"), ("size", "BYTES"), ("description", "WHAT"),
           ("created_at", "AT"))  # fmt: skip
FACTS = ("id", "ref", "kind", "digest", "size", "rows", "description", "created_by", "created_at")


@click.group("dataset", cls=Noun)
def command() -> None:
    """Register data by name and version, look at it, fetch it."""


@command.command()
@click.argument("name")
@click.option("--file", "files", multiple=True, type=FILES, help="A local file; repeat for more.")
@click.option("--artifact", "artifacts", multiple=True, help="An artifact, by id; repeat for more.")
@click.option("--path", "paths", multiple=True, help="A file or folder of the branch, or of the run.")
@click.option("--commit", metavar="SHA", help="Commit of the branch, where it is not its newest.")
@click.option("--run", "run_id", metavar="RUN", help="Run whose artifacts it is.")
@click.option(
    "--from-url", "url", metavar="URL", help="Address of one file, on a host that the policy lets you reach."
)
@click.option("--description", "-d", default="", help="What it is.")
@on_branch
@click.pass_obj
def register(
    caller: Caller, name: str, files: tuple[Path, ...], artifacts: tuple[str, ...], paths: tuple[str, ...],
    commit: str | None, run_id: str | None, url: str | None, description: str, repo: str | None, branch: str | None,
) -> int:  # fmt: skip
    """Register the next version of a dataset; the same content is the same version."""
    client, body = caller.place(repo, branch) if paths or url else (caller.client(), {})
    kept = [str(transfer.put(client, file, file.name, "dataset")["id"]) for file in files]
    sent = fields(name=name, artifacts=[*kept, *artifacts] or None, paths=list(paths) or None, commit=commit,
                  run_id=run_id, url=url, description=description or None)  # fmt: skip
    reply = client.call("POST", "/v1/datasets", {**body, **sent}, once=True)
    return caller.show(
        reply, f"{reply['ref']}: {len(reply['files'])} files, {reply['size']} bytes, {reply['digest']}"
    )


@command.command("list")
@click.option("--name", help="Versions of this one.")
@paged
@click.pass_obj
def list_(caller: Caller, name: str | None, limit: int, cursor: str | None) -> int:
    """List datasets in their newest version, or all versions of one."""
    reply = caller.client().call("GET", "/v1/datasets", fields(name=name, limit=limit, cursor=cursor))
    return caller.listing(reply, COLUMNS, "There are no datasets.")


@command.command()
@click.argument("ref", metavar="NAME[@VERSION]")
@click.pass_obj
def show(caller: Caller, ref: str) -> int:
    """Show a version with its files."""
    reply = caller.client().call("GET", f"/v1/datasets/{quote(ref, safe='')}")
    files = table(reply["files"], (("path", "PATH"), ("size", "BYTES"), ("sha256", "SHA-256")))
    return caller.show(reply, [*facts(reply, FACTS), "", files])


@command.command()
@click.argument("ref", metavar="NAME[@VERSION]")
@click.option("--path", help="Which file, where there are more.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="File; stdout when left out."
)
@click.pass_obj
def get(caller: Caller, ref: str, path: str | None, output: Path | None) -> int:
    """Fetch a file of a version."""
    pieces = caller.client().stream("GET", f"/v1/datasets/{quote(ref, safe='')}/content", fields(path=path))
    if output is None:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        return 0
    if output.exists():
        raise click.UsageError(f"{output} is there already; name another file with --output")
    with output.open("xb") as file:
        size = sum(file.write(piece) for piece in pieces)
    return caller.show({"file": str(output), "size": size}, f"{output}: {size} bytes")


@command.command()
@click.argument("id_", metavar="ID")
@click.option(
    "--direction",
    type=click.Choice(["up", "down", "both"]),
    default="both",
    show_default=True,
    help="Which way.",
)
@click.pass_obj
def lineage(caller: Caller, id_: str, direction: str) -> int:
    """Show from what a dataset, run, model or endpoint was made, and what was made from it."""
    reply = caller.client().call("GET", f"/v1/lineage/{quote(id_, safe='')}", {"direction": direction})
    names = {node["id"]: f"{node['kind']} {node['name']}" for node in reply["nodes"]}
    lines = [
        f"{names[edge['source']]} → {names[edge['target']]} ({edge['relation']})" for edge in reply["edges"]
    ]
    return caller.show(reply, lines or [names[reply["id"]]])
