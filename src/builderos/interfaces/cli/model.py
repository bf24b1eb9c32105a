"""Registered models: versions, stages, aliases, the way into production."""

from pathlib import Path
from urllib.parse import quote

import click

from builderos.client import artifacts as transfer
from builderos.client.http import Json

from .caller import Caller
from .commands import Noun
from .options import fields, paged
from .output import facts, table

COLUMNS = (("name", "MODEL"), ("latest", "LATEST"), ("production", "PRODUCTION"), ("description", "WHAT"))
VERSIONS = (
    ("version", "VERSION"),
    ("stage", "STAGE"),
    ("named", "ALIASES"),
    ("run_id", "RUN"),
    ("created_at", "AT"),
)
FACTS = ("id", "kind", "state", "approval_id", "requested_by", "reason", "created_at")


@click.group("model", cls=Noun)
def command() -> None:
    """Register models, stage and promote their versions."""


@command.command()
@click.argument("name")
@click.option("--source", help="runs:/RUN/FOLDER or models:/LOGGED-MODEL.")
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A local folder with its files.",
)
@click.option("--description", "-d", default="", help="What it is.")
@click.pass_obj
def register(caller: Caller, name: str, source: str | None, folder: Path | None, description: str) -> int:
    """Register the next version of a model; the model itself where it is new."""
    client = caller.client()
    known = client.call("GET", "/v1/models", {"like": name, "limit": 1000})["items"]
    if name not in [item["name"] for item in known]:
        client.call("POST", "/v1/models", fields(name=name, description=description or None), once=True)
    kept: list[str] = []
    for file in sorted(folder.rglob("*")) if folder is not None else []:
        if file.is_file():
            path = file.relative_to(folder or file).as_posix()
            kept.append(str(transfer.put(client, file, path, "model")["id"]))
    body = fields(source=source, artifacts=kept or None, description=description or None)
    reply = client.call("POST", f"{_path(name)}/versions", body, once=True)
    return caller.show(reply, f"{name}@{reply['version']}: {len(reply['files'])} files, {reply['digest']}")


@command.command("list")
@paged
@click.pass_obj
def list_(caller: Caller, limit: int, cursor: str | None) -> int:
    """List registered models."""
    reply = caller.client().call("GET", "/v1/models", fields(limit=limit, cursor=cursor))
    return caller.listing(reply, COLUMNS, "There are no models.")


@command.command()
@click.argument("name")
@click.pass_obj
def show(caller: Caller, name: str) -> int:
    """Show a model with its versions."""
    client = caller.client()
    reply = client.call("GET", _path(name))
    found = client.call("GET", "/v1/model-versions", {"name": name, "limit": 100})["items"]
    rows = [{**item, "named": ", ".join(item["aliases"])} for item in found]
    head = f"{reply['name']}  {reply['description']}".rstrip()
    return caller.show({**reply, "versions": found}, [head, "", table(rows, VERSIONS)])


@command.command()
@click.argument("ref", metavar="NAME@VERSION")
@click.argument("to", type=click.Choice(["registered", "staged", "retired"]))
@click.pass_obj
def stage(caller: Caller, ref: str, to: str) -> int:
    """Let a version be registered, staged or retired."""
    name, version = _parts(ref)
    reply = caller.client().call("POST", f"{_path(name)}/versions/{version}/stage", {"stage": to}, once=True)
    return caller.show(reply, f"{ref} is {reply['stage']}")


@command.command()
@click.argument("ref", metavar="NAME@VERSION")
@click.argument("alias_", metavar="ALIAS")
@click.pass_obj
def alias(caller: Caller, ref: str, alias_: str) -> int:
    """Let an alias name a version."""
    name, version = _parts(ref)
    reply = caller.client().call(
        "POST", f"{_path(name)}/aliases", {"alias": alias_, "version": version}, once=True
    )
    return caller.show(reply, f"{name}@{alias_} is version {version}")


@command.command()
@click.argument("what", metavar="NAME@VERSION|RUN")
@click.option("--to", "to", metavar="NAME", help="Of a run: the model that it becomes a version of.")
@click.option("--path", help="Of a run: the folder of the model.")
@click.option("--reason", "-m", default="", help="Why; whoever approves reads it.")
@click.pass_obj
def promote(caller: Caller, what: str, to: str | None, path: str | None, reason: str) -> int:
    """Ask for a staged version to come into production, or for a run to become a version."""
    if to is not None:
        body: Json = {"kind": "run_to_model", "from": fields(run_id=what, path=path), "to": {"name": to}}
    else:
        name, version = _parts(what)
        body = {"kind": "stage_to_prod", "from": {"name": name, "version": version}}
    reply = caller.client().call("POST", "/v1/promotions", {**body, "reason": reason}, once=True)
    return caller.show(reply, f"{reply['id']} is {reply['state']}")


@command.command()
@click.argument("id_", metavar="PROMOTION")
@click.pass_obj
def promotion(caller: Caller, id_: str) -> int:
    """Show a promotion and the metrics that whoever decides sees."""
    reply = caller.client().call("GET", f"/v1/promotions/{quote(id_, safe='')}")
    shown = table(
        reply["shown"].get("metrics", []), (("name", "METRIC"), ("before", "NOW"), ("after", "THEN"))
    )
    return caller.show(reply, [*facts(reply, FACTS), "", shown])


@command.command()
@click.argument("id_", metavar="PROMOTION")
@click.option("--reason", "-m", default="", help="Why.")
@click.pass_obj
def rollback(caller: Caller, id_: str, reason: str) -> int:
    """Have things as they were before a promotion was applied."""
    path = f"/v1/promotions/{quote(id_, safe='')}/rollback"
    reply = caller.client().call("POST", path, {"reason": reason}, once=True)
    return caller.show(reply, f"{id_} is {reply['state']}")


def _path(name: str) -> str:
    return f"/v1/models/{quote(name, safe='')}"


def _parts(ref: str) -> tuple[str, int]:
    name, _, version = ref.rpartition("@")
    if not name or not version.isdigit():
        raise click.UsageError("say NAME@VERSION, e.g. iris@3")
    return name, int(version)
