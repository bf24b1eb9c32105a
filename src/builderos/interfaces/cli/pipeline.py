"""Pipelines: look a file over, publish it, see what is there."""

from pathlib import Path

import click

from builderos.client.http import Json

from .caller import Caller
from .commands import Noun
from .options import fields, on_branch, paged
from .output import facts, table

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
LIST = (("name", "NAME"), ("version", "VERSION"), ("versions", "VERSIONS"), ("source.type", "FROM"),
        ("description", "DESCRIPTION"))  # fmt: skip
STEPS = (("id", "STEP"), ("action", "ACTION"), ("needs", "NEEDS"), ("lane", "LANE"), ("title", "TITLE"))
TRIGGERS = (("id", "ID"), ("pipeline_id", "PIPELINE"), ("kind", "KIND"), ("branch", "BRANCH"), ("state", "STATE"),
            ("next_at", "NEXT"), ("last_run_id", "LAST RUN"), ("detail", "DETAIL"))  # fmt: skip
_FIXED_NAME = "pipeline.yaml"


@click.group("pipeline", cls=Noun)
def command() -> None:
    """Look over, publish, list and show pipelines."""


@command.command()
@click.argument("file", type=FILE)
@click.pass_obj
def validate(caller: Caller, file: Path) -> int:
    """Look a pipeline file over; ends with 1 when there is a mistake in it."""
    body = fields(content=file.read_text(encoding="utf-8"), name=_folder(file))
    reply = caller.client().call("POST", "/v1/pipelines/validate", body)
    if reply["valid"]:
        said = f"{file}: {reply['name']}@{reply['version']}, {reply['steps']} steps, no mistake"
        return caller.show(reply, said)
    code = caller.show(reply, [line for error in reply["errors"] for line in _lines(file, error)])
    return code or 1


@command.command("list")
@click.option("--name", help="Only names that begin so.")
@paged
@click.pass_obj
def list_(caller: Caller, name: str | None, limit: int, cursor: str | None) -> int:
    """List the pipelines of your organisation and those that come with BuilderOS."""
    reply = caller.client().call("GET", "/v1/pipelines", fields(name=name, limit=limit, cursor=cursor))
    for item in reply["items"]:
        item["description"] = item["description"].strip().partition("\n")[0]
    return caller.listing(reply, LIST, "There is no such pipeline.")


@command.command()
@click.argument("name")
@click.option("--version", "version_", metavar="VERSION", help="A version; the newest by default.")
@click.option("--file", "as_file", is_flag=True, help="Print the file alone.")
@on_branch
@click.pass_obj
def show(
    caller: Caller, name: str, version_: str | None, as_file: bool, repo: str | None, branch: str | None
) -> int:
    """Show a pipeline: of a branch where one is named, else the published or the shipped one."""
    where = fields(version=version_, repo_name=repo, branch=branch)
    reply = caller.client().call("GET", f"/v1/pipelines/{name}", where)
    if as_file:
        return caller.show(reply, str(reply["content"]).rstrip("\n"))
    about = facts(reply, ("name", "version", "digest", "description", "published_by", "created_at"))
    return caller.show(reply, [*about, "", table(reply["steps"], STEPS)])


@command.command()
@click.argument("what", metavar="FILE|NAME")
@on_branch
@click.pass_obj
def publish(caller: Caller, what: str, repo: str | None, branch: str | None) -> int:
    """Publish a file, or with --branch the pipeline of that name on it; a version never changes afterwards."""
    where = fields(repo_name=repo, branch=branch)
    path = Path(what)
    if where:
        body = where | {"name": what}
    elif path.is_file():
        body = fields(content=path.read_text(encoding="utf-8"), name=_folder(path))
    else:
        raise click.UsageError(f"there is no file {what}; name a branch with --branch to publish from there")
    reply = caller.client().call("POST", "/v1/pipelines", body, once=True)
    return caller.show(reply, [str(reply["message"]), *facts(reply, ("digest",))])


@command.group(cls=Noun)
def triggers() -> None:
    """Switch what starts runs by itself on and off."""


@triggers.command("on")
@click.argument("name")
@on_branch
@click.pass_obj
def on(caller: Caller, name: str, repo: str | None, branch: str | None) -> int:
    """Let the triggers of a branch's pipeline start runs from now on, on your behalf."""
    body = fields(repo_name=repo, branch=branch)
    reply = caller.client().call("POST", f"/v1/pipelines/{name}/triggers", body, once=True)
    hooks = [item for item in reply["items"] if item["hook"] is not None]
    said = [line for item in hooks for line in facts(item, ("hook", "secret"))]
    return caller.show(reply, [str(reply["message"]), table(reply["items"], TRIGGERS), *said])


@triggers.command("list")
@click.option("--pipeline", metavar="NAME", help="Only those of this pipeline.")
@paged
@click.pass_obj
def list_triggers(caller: Caller, pipeline: str | None, limit: int, cursor: str | None) -> int:
    """List what starts runs by itself."""
    where = fields(pipeline=pipeline, limit=limit, cursor=cursor)
    reply = caller.client().call("GET", "/v1/triggers", where)
    return caller.listing(reply, TRIGGERS, "No trigger is on.")


@triggers.command()
@click.argument("id_", metavar="ID")
@click.option(
    "--overlap", metavar="HOURS", type=int, default=24, help="How long the secret so far counts, too."
)
@click.pass_obj
def rotate(caller: Caller, id_: str, overlap: int) -> int:
    """Give a webhook that starts runs a new secret, which is shown this once."""
    reply = caller.client().call("POST", f"/v1/triggers/{id_}/secret", {"overlap_hours": overlap}, once=True)
    return caller.show(reply, [str(reply["message"]), *facts(reply, ("hook", "secret", "old_secret_until"))])


@triggers.command("off")
@click.argument("id_", metavar="ID")
@click.pass_obj
def off(caller: Caller, id_: str) -> int:
    """Switch a trigger off; runs that it has started go on."""
    return caller.tell(caller.client().call("DELETE", f"/v1/triggers/{id_}"))


def _folder(file: Path) -> str | None:
    """The name that a file in `ship/<name>/pipeline.yaml` must have."""
    inside = file.resolve()
    return inside.parent.name if inside.name == _FIXED_NAME and inside.parent.parent.name == "ship" else None


def _lines(file: Path, error: Json) -> list[str]:
    where = f"{error['where']}: " if error["where"] else ""
    said = f"{file}:{error['line']}:{error['column']}: {where}{error['message']}"
    return [said, f"  {error['hint']}"] if error["hint"] else [said]
