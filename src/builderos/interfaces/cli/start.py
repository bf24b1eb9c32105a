"""`init`: from a repository to a first commit in five steps."""

import os
from pathlib import Path
from typing import Final

import click

from builderos.client.errors import ClientError
from builderos.client.http import Client, Json

from .caller import Caller
from .commands import Verb
from .places import folder_of

IMPORT_S: Final = 1200.0  # the server gives git 15 minutes
STEPS: Final = (
    ("Open a workspace", "builderos sandbox create --save"),
    ("Scaffold a project in it", 'builderos sandbox scaffold "My project"'),
    ("Save a file to it", 'builderos commit README.md -m "My first change"'),
    ("See what you did", "builderos log"),
    ("Come back, here or elsewhere, with the token", "builderos resume --save"),
)


@click.command("init", cls=Verb)
@click.argument("source", required=False, metavar="[REPO]")
@click.option("--name", help="Name of the repository here.  [default: the last part of its address]")
@click.pass_obj
def command(caller: Caller, source: str | None, name: str | None) -> int:
    """Bring a repository in and show the next five steps.

    REPO is a folder or an address; without it, the repository of the current folder. Nothing in it is changed.
    """
    folder = _folder(source)
    client = caller.client()
    known = caller.places.repo_of(folder) if folder is not None else None
    if known is not None and name in (None, known) and _is_there(client, known):
        reply: Json = {"repo_name": known, "created": False, "message": f"{known} is already here"}
    else:
        reply = import_repository(client, str(folder or source), name, None)
        reply = {**reply, "created": True}
        if folder is not None:
            caller.places.save_folder(folder, str(reply["repo_name"]))
    reply["next_steps"] = [{"step": step, "command": words} for step, words in STEPS]
    width = max(len(step) for step, _ in STEPS)
    lines = [f"  {number}. {step:<{width}}  {words}" for number, (step, words) in enumerate(STEPS, 1)]
    return caller.show(reply, [str(reply.get("message")), "", "Next:", *lines])


def import_repository(client: Client, source: str, name: str | None, branch: str | None) -> Json:
    """Import and wait for it. Raises `ClientError`."""
    client.wait_up_to(IMPORT_S)
    return client.call(
        "POST", "/v1/repos/import", {"source": source, "name": name, "branch": branch}, once=True
    )


def local_path(source: str) -> str:
    """An existing folder by its absolute path; anything else as it is."""
    return str(Path(source).absolute()) if os.path.isdir(source) else source


def _folder(source: str | None) -> Path | None:
    """The folder that is meant; None for an address."""
    if source is not None and not os.path.isdir(source):
        return None
    folder = folder_of(Path(source or ".").absolute())
    if folder is None and source is not None:
        return Path(source).absolute()  # a bare repository: git says whether it is one
    if folder is None:
        raise click.UsageError(
            "this folder is no git repository; go to one, or name one: builderos init REPO"
        )
    return folder


def _is_there(client: Client, name: str) -> bool:
    try:
        client.call("POST", "/git/log", {"repo_name": name, "branch": "main", "limit": 1})
    except ClientError as error:
        if error.status == 404:
            return False
        raise
    return True
