"""Prompts: look a file over, publish it, compare, label, fill in, carry elsewhere."""

import base64
import json
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

from builderos.client.http import Json

from .caller import Caller
from .commands import Noun
from .options import fields, on_branch, paged
from .output import facts, table

FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
LIST: Final = (("name", "NAME"), ("version", "NEWEST"), ("latest", "LATEST"), ("versions", "VERSIONS"),
        ("source.type", "FROM"), ("changelog", "CHANGELOG"))  # fmt: skip
VERSIONS: Final = (("version", "VERSION"), ("latest", "LATEST"), ("labels", "LABELS"), ("gate", "GATE"), ("why", "WHY"),
        ("created_at", "PUBLISHED"), ("changelog", "CHANGELOG"))  # fmt: skip
CHANGES: Final = (("field", "FIELD"), ("level", "LEVEL"), ("why", "WHY"))
EVALS: Final = (
    ("suite", "SUITE"),
    ("before", "BEFORE"),
    ("after", "AFTER"),
    ("delta", "DELTA"),
    ("cases", "CASES"),
)
ABOUT: Final = ("name", "version", "sha256", "latest", "labels", "tags", "owner", "created_at", "changelog",
         "description", "partials", "model", "output_schema")  # fmt: skip


@click.group("prompt", cls=Noun)
def command() -> None:
    """Publish, compare, label and carry prompts."""


@command.command("list")
@click.option("--name", help="Only names that begin so.")
@click.option("--tag", help="Only prompts with this tag.")
@paged
@click.pass_obj
def list_(caller: Caller, name: str | None, tag: str | None, limit: int, cursor: str | None) -> int:
    """List the prompts of your organisation and those that come with BuilderOS."""
    query = fields(name=name, tag=tag, limit=limit, cursor=cursor)
    reply = caller.client().call("GET", "/v1/prompts", query)
    return caller.listing(reply, LIST, "There is no such prompt.")


@command.command()
@click.argument("ref", metavar="NAME[@VERSION]")
@click.option("--file", "as_file", is_flag=True, help="Print the file alone.")
@on_branch
@click.pass_obj
def show(caller: Caller, ref: str, as_file: bool, repo: str | None, branch: str | None) -> int:
    """Show a prompt: of a branch where one is named, else of the registry or as shipped."""
    name, _, version = ref.partition("@")
    where = fields(version=version or None, repo_name=repo, branch=branch)
    reply = caller.client(repo).call("GET", f"/v1/prompts/{quote(name, safe='')}", where)
    if as_file:
        return caller.show(reply, str(reply["spec_yaml"]).rstrip("\n"))
    inputs: dict[str, Any] = reply["inputs"]
    rows = [{"name": key, **one} for key, one in inputs.items()]
    columns = (("name", "INPUT"), ("type", "TYPE"), ("default", "DEFAULT"), ("choices", "CHOICES"))
    said = [
        *facts(reply, ABOUT),
        "",
        *([table(rows, columns), ""] if rows else []),
        str(reply["template"]).rstrip(),
    ]
    return caller.show(reply, said)


@command.command()
@click.argument("name")
@paged
@click.pass_obj
def versions(caller: Caller, name: str, limit: int, cursor: str | None) -> int:
    """List the versions of a prompt, newest first."""
    query = fields(limit=limit, cursor=cursor)
    reply = caller.client().call("GET", f"/v1/prompts/{quote(name, safe='')}/versions", query)
    return caller.listing(reply, VERSIONS, "There is no such prompt.")


@command.command()
@click.argument("file", type=FILE)
@click.pass_obj
def lint(caller: Caller, file: Path) -> int:
    """Look a prompt file over; ends with 1 when there is a mistake in it."""
    body = {"content": file.read_text(encoding="utf-8")}
    reply = caller.client().call("POST", "/v1/prompts/lint", body)
    if not reply["valid"]:
        return caller.show(reply, [line for error in reply["errors"] for line in _lines(file, error)]) or 1
    said = [f"{file}: {reply['name']}@{reply['version']}, no mistake", *facts(reply, ("sha256",))]
    if reply["since"]:
        changed = f"Since {reply['since']} ({reply['level']}):"
        said += ["", changed, table(reply["changes"], CHANGES)] if reply["changes"] else []
    code = caller.show(reply, said)
    for warning in () if caller.json else reply["warnings"]:
        caller.say(f"Warning: {warning}")
    return code


@command.command()
@click.argument("what", metavar="FILE|NAME")
@on_branch
@click.pass_obj
def publish(caller: Caller, what: str, repo: str | None, branch: str | None) -> int:
    """Publish a file, or with --branch the prompt of that name on it; a version never changes afterwards."""
    body = fields(repo_name=repo, branch=branch)
    path = Path(what)
    if body:
        body |= {"name": what}
    elif path.is_file():
        body = {"content": path.read_text(encoding="utf-8")}
    else:
        raise click.UsageError(f"there is no file {what}; name a branch with --branch to publish from there")
    reply = caller.client(repo).call("POST", "/v1/prompts", body, once=True)
    return caller.show(reply, [str(reply["message"]), *facts(reply, ("sha256",))])


@command.command()
@click.argument("name")
@click.option("--from", "from_", metavar="VERSION", help="The old side; by default the version before.")
@click.option("--to", metavar="VERSION", help="The new side; by default the newest version.")
@on_branch
@click.pass_obj
def diff(
    caller: Caller, name: str, from_: str | None, to: str | None, repo: str | None, branch: str | None
) -> int:
    """Compare two versions: fields, text, and how they did in the evals."""
    query = fields(**{"from": from_}, to=to, repo_name=repo, branch=branch)
    reply = caller.client(repo).call("GET", f"/v1/prompts/{quote(name, safe='')}/diff", query)
    head = f"{name} {reply['from_version']} → {reply['to_version']}: {reply['level']}, as {reply['suggested_version']}"
    evals = ["", table(reply["evals"], EVALS)] if reply["evals"] else []
    return caller.show(reply, [head, "", table(reply["changes"], CHANGES), *evals, "", str(reply["text"])])


@command.command()
@click.argument("ref", metavar="NAME@VERSION")
@click.argument("label")
@click.option("--remove", is_flag=True, help="Take the label away.")
@click.option("--reason", default="", help="Why it moves; an approver reads it.")
@click.pass_obj
def label(caller: Caller, ref: str, label: str, remove: bool, reason: str) -> int:
    """Let a label name a version; exit code 4 while that waits for an approval."""
    name, _, version = ref.partition("@")
    path = f"/v1/prompts/{quote(name, safe='')}/labels"
    if remove:
        return caller.tell(caller.client().call("DELETE", f"{path}/{quote(label, safe='')}"))
    if not version:
        raise click.UsageError("say which version: builderos prompt label planner@1.3.0 production")
    body = {"label": label, "version": version, "reason": reason}
    return caller.tell(caller.client().call("POST", path, body, once=True), "before")


@command.command()
@click.argument("ref", metavar="NAME[@VERSION]")
@click.option(
    "-i",
    "--input",
    "inputs",
    multiple=True,
    metavar="KEY=TEXT",
    help="An input; KEY=@FILE reads a file, KEY:=JSON is no text.",
)
@click.option("--inputs-json", type=FILE, help="A JSON file with all inputs.")
@on_branch
@click.pass_obj
def render(
    caller: Caller, ref: str, inputs: tuple[str, ...], inputs_json: Path | None, repo: str | None, branch: str | None
) -> int:  # fmt: skip
    """Fill a prompt in and print the text as it would be sent."""
    given: dict[str, Any] = json.loads(inputs_json.read_text(encoding="utf-8")) if inputs_json else {}
    given |= dict(_pair(one) for one in inputs)
    body = {"prompt": ref, "inputs": given, **fields(repo_name=repo, branch=branch)}
    reply = caller.client(repo).call("POST", "/v1/prompts/render", body)
    return caller.show(reply, str(reply["text"]).rstrip("\n"))


@command.command()
@click.argument("refs", metavar="NAME[@VERSION]...", nargs=-1, required=True)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), default=Path("promptpack.zip"),
              show_default=True, help="File to write.")  # fmt: skip
@click.option("--name", default="prompts", show_default=True, help="Name of the pack.")
@click.option("--version", "version_", default="1.0.0", show_default=True, help="Version of the pack.")
@click.pass_obj
def export(caller: Caller, refs: tuple[str, ...], output: Path, name: str, version_: str) -> int:
    """Write prompts with all that stands in them into one file."""
    body = {"prompts": list(refs), "name": name, "version": version_}
    with output.open("wb") as out:
        size = caller.client().save("POST", "/v1/prompts/export", body, out)
    return caller.show({"file": str(output), "size": size}, f"{output}: {size} bytes")


@command.command("import")
@click.argument("file", type=FILE)
@click.option("--dry-run", is_flag=True, help="Only look it over.")
@click.pass_obj
def import_(caller: Caller, file: Path, dry_run: bool) -> int:
    """Publish all versions of a pack, or none of them."""
    body = {"content": base64.b64encode(file.read_bytes()).decode(), "dry_run": dry_run}
    reply = caller.client().call("POST", "/v1/prompts/import", body, once=True)
    return caller.tell(reply, "published", "unchanged")


def _pair(text: str) -> tuple[str, Any]:
    """`key=text`, `key=@file`, or `key:=JSON` for what is no text."""
    key, is_, value = text.partition("=")
    if not is_:
        raise click.UsageError(f"{text!r} has no =; write KEY=TEXT or KEY:=JSON")
    if key.endswith(":"):
        try:
            return key[:-1], json.loads(value)
        except ValueError:
            raise click.UsageError(f"{value!r} is no JSON; write KEY=TEXT for a text") from None
    return key, Path(value[1:]).read_text(encoding="utf-8") if value.startswith("@") else value


def _lines(file: Path, error: Json) -> list[str]:
    where = f"{error['where']}: " if error["where"] else ""
    said = f"{file}:{error['line']}:{error['column']}: {where}{error['message']}"
    return [said, f"  {error['hint']}"] if error["hint"] else [said]
