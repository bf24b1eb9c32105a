"""Endpoints: models that answer."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from builderos.client.http import Json

from .caller import Caller
from .commands import Noun
from .options import fields, paged
from .output import table

COLUMNS = (("name", "ENDPOINT"), ("env", "ENV"), ("answers", "ANSWERS"), ("state", "STATE"), ("id", "ID"))
DEPLOYMENTS = (
    ("number", "NO"),
    ("ref", "MODEL"),
    ("status", "STATUS"),
    ("share", "SHARE"),
    ("replicas", "PROCESSES"),
    ("id", "ID"),
    ("detail", "WHY"),
)
PAYLOADS = (("at", "AT"), ("status", "STATUS"), ("ms", "MS"), ("input", "ASKED"), ("output", "ANSWERED"))
_PIECE = 262_144
METRICS = (("deployment_id", "DEPLOYMENT"), ("calls", "CALLS"), ("errors", "ERRORS"), ("refused", "REFUSED"),
           ("p50_ms", "P50 MS"), ("p95_ms", "P95 MS"), ("compared", "COMPARED"), ("differed", "DIFFERED"))  # fmt: skip


_SETTINGS: dict[str, tuple[str, str]] = {
    "min_": ("scaling", "min_replicas"), "max_": ("scaling", "max_replicas"), "target": ("scaling", "target"),
    "quiet": ("scaling", "quiet_s"), "payload_rate": ("payloads", "rate"), "payload_chars": ("payloads", "max_chars"),
    "payload_days": ("payloads", "keep_days"),
}  # fmt: skip


def _settings(command: Callable[..., int]) -> Callable[..., int]:
    options = (
        click.option("--min", "min_", type=click.IntRange(0, 16), help="Processes for each deployment, at least."),
        click.option("--max", "max_", type=click.IntRange(1, 16), help="Processes for each deployment, at most."),
        click.option("--target", type=click.IntRange(1, 1000), help="Calls in flight before there is another one."),
        click.option("--quiet", type=float, help="Seconds of less to do before there is one fewer."),
        click.option("--payload-rate", type=click.FloatRange(0, 1), help="Share of the calls that is kept; 0: none."),
        click.option("--payload-chars", type=click.IntRange(100, 16_384), help="How much of each text is kept."),
        click.option("--payload-days", type=click.IntRange(1, 90), help="How long it is kept."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def _set(settings: dict[str, Any], now: Json | None = None) -> Json:
    """What was said, beside what there is `now`."""
    found: Json = {}
    for name, value in settings.items():
        part, member = _SETTINGS[name]
        if value is not None:
            found.setdefault(part, dict((now or {}).get(part, {})))[member] = value
    return found


@click.group("endpoint", cls=Noun)
def command() -> None:
    """Have models answer, and look after that."""


@command.command()
@click.argument("name")
@click.argument("ref", metavar="MODEL@VERSION")
@click.option(
    "--env",
    type=click.Choice(["dev", "stage", "prod"]),
    default="dev",
    show_default=True,
    help="Environment.",
)
@click.option("--runtime", default="", help="Runtime with the model's libraries.")
@click.option("--profile", default="", help="How much of the machine it may use.")
@click.option(
    "--role", "roles", multiple=True, help="A role that may call; repeat for more. All when left out."
)
@click.option("--per-minute", type=click.IntRange(1), help="Calls per minute, at most.")
@_settings
@click.pass_obj
def create(
    caller: Caller, name: str, ref: str, env: str, runtime: str, profile: str, roles: tuple[str, ...],
    per_minute: int | None, **settings: Any,
) -> int:  # fmt: skip
    """Make an endpoint that answers with a version of a model."""
    policy = fields(roles=list(roles) or None, per_minute=per_minute)
    body = {
        "name": name,
        "model_version": ref,
        "env": env,
        "runtime": runtime,
        "profile": profile,
        "policy": policy,
        **_set(settings),
    }
    reply = caller.client().call("POST", "/v1/endpoints", body, once=True)
    return caller.show(reply, f"{reply['id']} starts: builderos endpoint show {name}")


@command.command()
@click.argument("id_", metavar="ENDPOINT")
@_settings
@click.pass_obj
def change(caller: Caller, id_: str, **settings: Any) -> int:
    """Change how many processes answer, and which calls are kept with what was asked and answered."""
    client = caller.client()
    body = _set(settings, client.call("GET", _path(id_)))
    if not body:
        raise click.UsageError("say what is to be otherwise, e.g. --max 4")
    reply = client.call("POST", f"{_path(id_)}/settings", body, once=True)
    return caller.show(reply, _told(reply))


@command.command()
@click.argument("id_", metavar="ENDPOINT")
@click.option("--deployment", help="Id of the deployment; the newest when left out.")
@click.option("--start", type=click.IntRange(1), help="Which start of its processes; the last when left out.")
@click.pass_obj
def logs(caller: Caller, id_: str, deployment: str | None, start: int | None) -> int:
    """Print what a process of an endpoint printed."""
    client, offset, text = caller.client(), 0, ""
    query = {"limit": _PIECE} | fields(deployment=deployment, start=start)
    while True:
        reply = client.call("GET", f"{_path(id_)}/logs", {**query, "offset": offset})
        text += reply["text"]
        if reply["next_offset"] == offset:
            return caller.show({**reply, "text": text, "offset": 0}, text.rstrip("\n"))
        offset = reply["next_offset"]


@command.command()
@click.argument("id_", metavar="ENDPOINT")
@click.option("--status", type=click.IntRange(100, 599), help="Only calls answered with this status.")
@paged
@click.pass_obj
def payloads(caller: Caller, id_: str, status: int | None, limit: int, cursor: str | None) -> int:
    """Show what some calls were asked and answered, newest first, where the endpoint keeps that."""
    asked = fields(status=status, limit=min(limit, 100), cursor=cursor)
    reply = caller.client().call("GET", f"{_path(id_)}/payloads", asked)
    return caller.listing(
        reply, PAYLOADS, "None are kept. Keep some: builderos endpoint change --payload-rate."
    )


@command.command("list")
@paged
@click.pass_obj
def list_(caller: Caller, limit: int, cursor: str | None) -> int:
    """List endpoints, newest first."""
    reply = caller.client().call("GET", "/v1/endpoints", fields(limit=limit, cursor=cursor))
    rows = [{**item, "answers": _answers(item)} for item in reply["items"]]
    return caller.listing(reply, COLUMNS, "There are no endpoints.", rows)


@command.command()
@click.argument("id_", metavar="ENDPOINT")
@click.pass_obj
def show(caller: Caller, id_: str) -> int:
    """Show an endpoint and what answers there."""
    reply = caller.client().call("GET", _path(id_))
    return caller.show(reply, _told(reply))


@command.command()
@click.argument("id_", metavar="ENDPOINT")
@click.argument("ref", metavar="MODEL@VERSION")
@click.option(
    "--share", type=click.IntRange(0, 100), default=100, show_default=True, help="Percent of the calls."
)
@click.pass_obj
def deploy(caller: Caller, id_: str, ref: str, share: int) -> int:
    """Give an endpoint another version; it takes over once it answers."""
    body = {"model_version": ref, "share": share}
    reply = caller.client().call("POST", f"{_path(id_)}/deploy", body, once=True)
    return caller.show(reply, _told(reply))


@command.command()
@click.argument("id_", metavar="ENDPOINT")
@click.argument("document", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.pass_obj
def invoke(caller: Caller, id_: str, document: Path) -> int:
    """Call an endpoint with a JSON document from a file; - for stdin."""
    try:
        body = json.loads(sys.stdin.read() if document == Path("-") else document.read_text(encoding="utf-8"))
    except ValueError as error:
        raise click.UsageError(f"that is no JSON: {error}") from error
    reply = caller.client().call("POST", f"{_path(id_)}/invoke", body)
    return caller.show(reply, json.dumps(reply, indent=2))


@command.command()
@click.argument("id_", metavar="ENDPOINT")
@click.argument("shares", metavar="DEPLOYMENT=PERCENT...", nargs=-1, required=True)
@click.option(
    "--shadow", help="A deployment that is asked likewise; its answers are compared, never given out."
)
@click.pass_obj
def traffic(caller: Caller, id_: str, shares: tuple[str, ...], shadow: str | None) -> int:
    """Say which share of the calls each deployment gets, and which one is asked unheard."""
    parts = [share.rpartition("=") for share in shares]
    if any(not name or not percent.isdecimal() for name, _, percent in parts):
        raise click.UsageError("say DEPLOYMENT=PERCENT, e.g. mdp_x=90 mdp_y=10")
    body = fields(shares={name: int(percent) for name, _, percent in parts}, shadow=shadow)
    reply = caller.client().call("POST", f"{_path(id_)}/traffic", body, once=True)
    return caller.show(reply, _told(reply))


@command.command()
@click.argument("id_", metavar="ENDPOINT")
@click.pass_obj
def rollback(caller: Caller, id_: str) -> int:
    """Have an endpoint answer as before its last change, at once."""
    reply = caller.client().call("POST", f"{_path(id_)}/rollback", {}, once=True)
    return caller.show(reply, _told(reply))


@command.command()
@click.argument("id_", metavar="ENDPOINT")
@click.pass_obj
def stop(caller: Caller, id_: str) -> int:
    """Stop an endpoint."""
    reply = caller.client().call("POST", f"{_path(id_)}/stop", {}, once=True)
    return caller.show(reply, f"{reply['name']} is stopped")


@command.command()
@click.argument("id_", metavar="ENDPOINT")
@click.option(
    "--minutes", type=click.IntRange(1, 10_080), default=60, show_default=True, help="How far back."
)
@click.pass_obj
def metrics(caller: Caller, id_: str, minutes: int) -> int:
    """Show calls, errors and latency of an endpoint."""
    reply = caller.client().call("GET", f"{_path(id_)}/metrics", {"minutes": minutes})
    rows = [{**reply["total"], "deployment_id": "all"}, *reply["deployments"]]
    return caller.show(reply, table(rows, METRICS))


def _path(id_: str) -> str:
    return f"/v1/endpoints/{quote(id_, safe='')}"


def _answers(item: Json) -> str:
    live = [one for one in item["deployments"] if one["share"]]
    return ", ".join(f"{one['model']}@{one['version']} {one['share']} %" for one in live) or "nothing"


def _told(reply: Json) -> list[str]:
    rows = [{**one, "ref": f"{one['model']}@{one['version']}", "share": _share(reply, one)}
            for one in reply["deployments"]]  # fmt: skip
    return [f"{reply['name']} in {reply['env']}: {reply['url']}", "", table(rows, DEPLOYMENTS)]


def _share(reply: Json, one: Json) -> str:
    moved = [column["column"] for column in one["drift"] if column["level"] == "shifted"]
    share = "shadow" if reply["shadow"] == one["id"] else f"{one['share']} %"
    return f"{share}; drift: {', '.join(moved[:3])}" if moved else share
