"""Registered models: versions, stages, aliases, the way into production."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from builderos.client import artifacts as transfer
from builderos.client.http import Json

from .caller import Caller
from .commands import Noun
from .options import fields, on_branch, paged
from .output import facts, table
from .run_follow import follow_run

COLUMNS = (("name", "MODEL"), ("latest", "LATEST"), ("production", "PRODUCTION"), ("description", "WHAT"))
VERSIONS = (
    ("version", "VERSION"),
    ("stage", "STAGE"),
    ("named", "ALIASES"),
    ("run_id", "RUN"),
    ("created_at", "AT"),
)
JOBS = (
    ("id", "JOB"),
    ("model", "MODEL"),
    ("dataset", "DATASET"),
    ("status", "STATUS"),
    ("far", "ROWS"),
    ("at", "AT"),
)
JOB_FACTS = ("id", "model", "dataset", "file", "status", "run_id", "rows_done", "rows_total", "chunks_done",
             "artifact_id", "result", "created_by", "created_at", "ended_at")  # fmt: skip
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
    """Show a promotion as whoever decides sees it: metrics, params, evals and data of both sides, and the lineage."""
    reply = caller.client().call("GET", f"/v1/promotions/{quote(id_, safe='')}")
    return caller.show(reply, [*facts(reply, FACTS), "", *_sides(reply["shown"])])


def _sides(shown: Json) -> list[str]:
    now = f"IN PRODUCTION ({shown['before']})" if shown.get("before") is not None else "IN PRODUCTION"
    lines: list[str] = []
    for kind in ("metrics", "params"):
        columns = (("name", kind[:-1].upper()), ("before", now), ("after", "THEN"), ("change", "CHANGE"))
        rows = shown.get(kind, [])
        lines += [table(rows, columns) if rows else f"No {kind} are known.", ""]
    for kind in ("evals_before", "evals"):
        rows = [{**one, "rate": f"{one['pass_rate']:.0%}"} for one in shown.get(kind, [])]
        head = f"EVAL, {now}" if kind == "evals_before" else "EVAL"
        lines += (
            [table(rows, (("suite", head), ("verdict", "VERDICT"), ("rate", "PASSED"))), ""] if rows else []
        )
    lines += [f"data {', '.join(shown['datasets'])}"] if shown.get("datasets") else []
    lines += [f"code {shown['code_sha']}"] if shown.get("code_sha") else []
    lines += [f"file {file['path']} ({file['size']} bytes)" for file in shown.get("files", [])]
    return [*lines, *(f"from {node['kind']} {node['name']}" for node in shown.get("lineage", []))]


@command.command()
@click.argument("id_", metavar="PROMOTION")
@click.option("--reason", "-m", default="", help="Why.")
@click.pass_obj
def rollback(caller: Caller, id_: str, reason: str) -> int:
    """Have things as they were before a promotion was applied."""
    path = f"/v1/promotions/{quote(id_, safe='')}/rollback"
    reply = caller.client().call("POST", path, {"reason": reason}, once=True)
    return caller.show(reply, f"{id_} is {reply['state']}")


@command.command()
@click.argument("ref", metavar="NAME@VERSION")
@click.argument("dataset", metavar="DATASET@VERSION")
@click.option("--file", help="Which file of the dataset, where it has more than one table.")
@click.option(
    "--column",
    "columns",
    multiple=True,
    help="A column that the model is given, where it does not say which.",
)
@click.option("--carry", multiple=True, help="A column that stands beside the answers, e.g. an id.")
@click.option("--format", type=click.Choice(["csv", "jsonl"]), help="Of the result.")
@click.option(
    "--chunk", "chunk_rows", type=click.IntRange(1, 100_000), help="Rows that are scored at a time."
)
@click.option(
    "--register-as", metavar="NAME", help="Register the result as the next version of this dataset."
)
@click.option("--runtime", help="An approved runtime that brings what the model needs.")
@click.option("--profile", help="How much it may use; the first that is approved without.")
@click.option("--timeout", "timeout_s", type=float, metavar="SECONDS", help="Longer it does not run.")
@click.option(
    "-f", "--follow", "following", is_flag=True, help="Go on until it has ended; then show what came of it."
)
@on_branch
@click.pass_obj
def score(
    caller: Caller,
    ref: str,
    dataset: str,
    following: bool,
    repo: str | None,
    branch: str | None,
    **words: Any,
) -> int:
    """Have a version score a dataset, chunk by chunk, as a run in its sandbox."""
    client = caller.client(repo or caller.repo_here())
    name, version = _parts(ref)
    lists = {key: list(words.pop(key)) or None for key in ("columns", "carry")}
    body = {"version": version, "dataset_ref": dataset} | fields(
        repo_name=repo, branch=branch, **words, **lists
    )
    reply = client.call("POST", f"{_path(name)}/score", body, once=True)
    if not following:
        return caller.show(reply, f"{reply['id']} is {reply['status']}, as {reply['run_id']}")
    code = follow_run(caller, client, str(reply["run_id"]), wait=False)
    reply = client.call("GET", _job(str(reply["id"])))
    caller.show(reply, _told(reply))
    return code


@command.command()
@click.argument("id_", metavar="JOB")
@click.pass_obj
def job(caller: Caller, id_: str) -> int:
    """Show a job of batch scoring: how far it is, the result, or the row and column that did not fit."""
    reply = caller.client().call("GET", _job(id_))
    return caller.show(reply, _told(reply))


@command.command()
@click.option("--model", help="Only those of this model.")
@paged
@click.pass_obj
def jobs(caller: Caller, model: str | None, limit: int, cursor: str | None) -> int:
    """List jobs of batch scoring, newest first."""
    reply = caller.client().call("GET", "/v1/scoring-jobs", fields(model=model, limit=limit, cursor=cursor))
    rows = [
        {**one, "far": f"{one['rows_done']} of {one['rows_total'] or '?'}", "at": one["created_at"]}
        for one in reply["items"]
    ]
    return caller.listing({**reply, "items": rows}, JOBS, "Nothing was scored.")


def _told(reply: Json) -> list[str]:
    error = reply["error"]
    if error is None:
        return facts(reply, JOB_FACTS)
    where = ", ".join(f"{what} {error[what]}" for what in ("row", "column") if error[what] is not None)
    return [*facts(reply, JOB_FACTS), "", f"{where}: {error['message']}" if where else str(error["message"])]


def _job(id_: str) -> str:
    return f"/v1/scoring-jobs/{quote(id_, safe='')}"


def _path(name: str) -> str:
    return f"/v1/models/{quote(name, safe='')}"


def _parts(ref: str) -> tuple[str, int]:
    name, _, version = ref.rpartition("@")
    if not name or not version.isdigit():
        raise click.UsageError("say NAME@VERSION, e.g. iris@3")
    return name, int(version)
