"""Apps: releases of a commit, each app at an address of its own."""

import time
from typing import Any
from urllib.parse import quote

import click

from builderos.client.http import Client, Json

from .caller import Caller
from .commands import Noun
from .options import fields, paged
from .output import facts, table

TYPES = ["streamlit", "flask", "nextjs", "static", "custom"]
COLUMNS = (("name", "APP"), ("type", "TYPE"), ("standing", "STANDS"), ("release", "LIVE"),
           ("url", "ADDRESS"), ("id", "ID"))  # fmt: skip
RELEASES = (("number", "NO"), ("status", "STATUS"), ("branch", "BRANCH"), ("commit", "COMMIT"), ("starts", "STARTS"),
            ("crashes", "CRASHES"), ("created_at", "CREATED"), ("id", "ID"), ("detail", "WHY"))  # fmt: skip
FACTS = ("type", "standing", "url", "command", "build", "runtime", "profile", "secrets", "network", "endpoints",
         "models", "base_path",
         "idle_timeout", "policy")  # fmt: skip
_PIECE = 262_144
_LOOK_S = 0.5
_UNDER_WAY = ("building", "starting")


@click.group("app", cls=Noun)
def command() -> None:
    """Serve apps of a commit (`builderos app create`, then `builderos app release`)."""


def _settings(function: Any) -> Any:
    """Options that a new app and a change have in common."""
    for option in (
        click.option(
            "--command", "run", help="What is started instead of what its type says; listens on $PORT."
        ),
        click.option("--build", help="Command that is run in the files first."),
        click.option("--runtime", help="An approved runtime."),
        click.option("--profile", help="An approved size."),
        click.option("--env", multiple=True, metavar="NAME=VALUE", help="A variable; repeat for more."),
        click.option("--secret", "secrets", multiple=True, help="Name of a secret it gets; repeat for more."),
        click.option(
            "--network", multiple=True, metavar="HOST", help="A host it may reach; repeat for more."
        ),
        click.option(
            "--endpoint",
            "endpoints",
            multiple=True,
            metavar="NAME",
            help="An endpoint it may call; repeat for more.",
        ),
        click.option(
            "--model", "models", multiple=True, metavar="NAME", help="A model it may ask; repeat for more."
        ),
        click.option("--health", metavar="PATH", help="Path that says whether it is well."),
        click.option("--base-path", metavar="PATH", help="Path below which it is served, e.g. /sales."),
        click.option("--idle-timeout", type=int, metavar="SECONDS", help="Asleep after so long; 0: never."),
        click.option(
            "--public/--org", "public", default=None, help="Who may open it: anybody, or the organisation."
        ),
        click.option("--role", "roles", multiple=True, help="A role that may open it; repeat for more."),
    ):
        function = option(function)
    return function


def _body(given: dict[str, Any]) -> Json:
    policy = None
    if given["public"] is not None or given["roles"]:
        policy = {"open": "public" if given["public"] else "org", "roles": list(given["roles"])}
    return fields(
        command=given["run"], build=given["build"], runtime=given["runtime"], profile=given["profile"],
        env=_variables(given["env"]), secrets=list(given["secrets"]) or None, network=list(given["network"]) or None,
        endpoints=list(given["endpoints"]) or None, models=list(given["models"]) or None,
        health={"path": given["health"]} if given["health"] else None, base_path=given["base_path"],
        idle_timeout=given["idle_timeout"], policy=policy,
    )  # fmt: skip


def _variables(given: tuple[str, ...]) -> Json | None:
    found: Json = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals:
            raise click.UsageError(f"--env {one}: write NAME=VALUE")
        found[name] = value
    return found or None


@command.command()
@click.argument("name")
@click.argument("type_", metavar="TYPE", type=click.Choice(TYPES))
@click.option("--repo", help="Repository; the one this folder belongs to when left out.")
@click.option("--branch", default="main", show_default=True, help="Branch whose tip is released.")
@click.option("--path", default="", help="The file, or the folder, that it is.")
@click.option("--object", "object_", help="flask: the application in that file; app when left out.")
@_settings
@click.pass_obj
def create(
    caller: Caller, name: str, type_: str, repo: str | None, branch: str, path: str, object_: str | None, **given: Any
) -> int:  # fmt: skip
    """Make an app; nothing of it is served before its first release."""
    repo = repo or caller.repo_here()
    if repo is None:
        raise click.UsageError("say which repository: --repo NAME")
    source = {"repo_name": repo, "branch": branch, "path": path} | fields(object=object_)
    body = {"name": name, "type": type_, "source": source} | _body(given)
    reply = caller.client().call("POST", "/v1/apps", body, once=True)
    return caller.show(reply, f"{reply['id']} is there: builderos app release {name}")


@command.command("list")
@paged
@click.pass_obj
def list_(caller: Caller, limit: int, cursor: str | None) -> int:
    """List apps, newest first."""
    reply = caller.client().call("GET", "/v1/apps", fields(limit=limit, cursor=cursor))
    rows = [{**one, "release": one["current"]["number"] if one["current"] else "-"} for one in reply["items"]]
    return caller.listing(reply, COLUMNS, "There are no apps.", rows)


@command.command()
@click.argument("app")
@click.pass_obj
def show(caller: Caller, app: str) -> int:
    """Show an app: what it is made of, what is live, what became of the newest release."""
    client = caller.client()
    reply = client.call("GET", _path(app))
    listed = client.call("GET", f"{_path(app)}/releases", {"limit": 10})["items"]
    return caller.show(reply, [reply["name"], *facts(reply, FACTS), "", _releases(listed)])


@command.command()
@click.argument("app")
@_settings
@click.pass_obj
def change(caller: Caller, app: str, **given: Any) -> int:
    """Change who may open an app, at once; anything else from its next release on."""
    body = _body(given)
    if not body:
        raise click.UsageError("say what is to be otherwise")
    reply = caller.client().call("POST", _path(app), body, once=True)
    return caller.show(reply, [reply["name"], *facts(reply, FACTS)])


@command.command()
@click.argument("app")
@click.option("--branch", help="The app's own branch when left out.")
@click.option("--commit", "commit_sha", help="A commit of that branch; its tip when left out.")
@click.option("--no-wait", is_flag=True, help="Do not wait until it is live.")
@click.pass_obj
def release(caller: Caller, app: str, branch: str | None, commit_sha: str | None, no_wait: bool) -> int:
    """Have a commit become the app; it takes over once it is well. Exit 1 where it never is."""
    client = caller.client()
    body = fields(branch=branch, commit_sha=commit_sha)
    reply = client.call("POST", f"{_path(app)}/releases", body, once=True)
    return _waited(caller, client, app, reply, wait=not no_wait)


@command.command()
@click.argument("app")
@click.option("--to", help="A release that was live; the one before when left out.")
@click.option("--reason", default="", help="Why.")
@click.option("--no-wait", is_flag=True, help="Do not wait until it is live.")
@click.pass_obj
def rollback(caller: Caller, app: str, to: str | None, reason: str, no_wait: bool) -> int:
    """Have the release before be live again."""
    client = caller.client()
    body = {"reason": reason} | fields(to=to)
    reply = client.call("POST", f"{_path(app)}/rollback", body, once=True)
    return _waited(caller, client, app, reply, wait=not no_wait)


@command.command("open")
@click.argument("app")
@click.option("--path", default="/", help="Where in it.")
@click.pass_obj
def open_(caller: Caller, app: str, path: str) -> int:
    """Print the way into an app: an address for a browser, good for a quarter of an hour and for one use."""
    reply = caller.client().call("POST", f"{_path(app)}/token", {"path": path}, once=True)
    return caller.show(reply, str(reply["url"]))


@command.command()
@click.argument("app")
@click.option("--release", "release_", help="Id of a release; the newest when left out.")
@click.option("--build", "of_build", is_flag=True, help="Of its build instead of its process.")
@click.option("--start", type=click.IntRange(1), help="Which start of the process; the last when left out.")
@click.pass_obj
def logs(caller: Caller, app: str, release_: str | None, of_build: bool, start: int | None) -> int:
    """Print what the build or the process of a release printed."""
    client, offset, text = caller.client(), 0, ""
    query = {"of": "build" if of_build else "process", "limit": _PIECE} | fields(
        release=release_, start=start
    )
    while True:
        reply = client.call("GET", f"{_path(app)}/logs", {**query, "offset": offset})
        text += reply["text"]
        if reply["next_offset"] == offset:
            return caller.show({**reply, "text": text, "offset": 0}, text.rstrip("\n"))
        offset = reply["next_offset"]


@command.command()
@click.argument("app")
@click.pass_obj
def stop(caller: Caller, app: str) -> int:
    """Stop an app; `builderos app start` brings it back."""
    reply = caller.client().call("POST", f"{_path(app)}/stop", {}, once=True)
    return caller.show(reply, f"{reply['name']} is stopped")


@command.command()
@click.argument("app")
@click.pass_obj
def start(caller: Caller, app: str) -> int:
    """Start an app that was stopped."""
    reply = caller.client().call("POST", f"{_path(app)}/start", {}, once=True)
    return caller.show(reply, f"{reply['name']} starts: {reply['url']}")


@command.command()
@click.argument("app")
@click.pass_obj
def delete(caller: Caller, app: str) -> int:
    """Stop an app for good; its name is free again."""
    reply = caller.client().call("DELETE", _path(app))
    return caller.show(reply, f"{reply['name']} is deleted")


def _waited(caller: Caller, client: Client, app: str, reply: Json, *, wait: bool) -> int:
    """Show a release, once it is live or never will be."""
    before = reply["status"]
    while wait and reply["status"] in _UNDER_WAY:
        time.sleep(_LOOK_S)
        found = client.call("GET", f"{_path(app)}/releases", {"limit": 200})["items"]
        reply = next(one for one in found if one["id"] == reply["id"])
    live = reply["status"] in ("live", *_UNDER_WAY)
    lines = [f"{reply['id']} is {reply['status']}" + (f": {reply['detail']}" if reply["detail"] else "")]
    if wait and live and before != reply["status"]:
        lines.append(str(client.call("GET", _path(app))["url"]))
    if not live:
        lines.append(f"builderos app logs {app} --release {reply['id']}")
    caller.show(reply, lines)
    return 0 if live else 1


def _releases(items: list[Json]) -> str:
    return (
        table([{**one, "commit": one["commit_sha"][:12]} for one in items], RELEASES)
        if items
        else "No releases."
    )


def _path(app: str) -> str:
    return f"/v1/apps/{quote(app, safe='')}"
