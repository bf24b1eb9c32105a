"""`api`: every operation of the contract, also those that have no verb of their own."""

import itertools
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from builderos.client import contract
from builderos.client.contract import Operation
from builderos.client.http import Client, Json

from .caller import Caller
from .commands import Verb
from .options import on_repo
from .output import table, word

COLUMNS = (("name", "OPERATION"), ("method", "METHOD"), ("path", "ROUTE"), ("summary", "SUMMARY"))
_FIELDS = (("name", "FIELD"), ("type", "TYPE"), ("needed", "NEEDED"), ("description", "DESCRIPTION"))


@click.command("api", cls=Verb)
@click.argument("operation", required=False)
@click.option(
    "-f",
    "--field",
    "given",
    multiple=True,
    metavar="NAME=VALUE",
    help="A member of the input; repeat for more.",
)
@click.option("--body", metavar="JSON|@FILE|-", help="The input as JSON; fields are put on top.")
@click.option(
    "-o", "--out", type=click.Path(dir_okay=False, writable=True), help="Write the reply to this file."
)
@click.option("--describe", is_flag=True, help="Show the fields of the operation instead of calling it.")
@on_repo
@click.pass_obj
def command(
    caller: Caller, operation: str | None, given: tuple[str, ...], body: str | None, out: str | None, describe: bool,
    repo: str | None,
) -> int:  # fmt: skip
    """Call OPERATION; without one, list them all.

    A value is text unless the field wants something else; members of the path are fields, too:
    builderos api ackAlert -f id=alt_… -f resolve=true
    """
    client = caller.client(repo or caller.repo_here())
    if operation is None:
        return _list(caller, contract.load(client, caller.edition))
    found = _find(caller, client, operation)
    if describe:
        return _describe(caller, found)
    values = _body(body) | dict(_field(found, text) for text in given)
    missing = sorted(name for name in found.in_path if name not in values)
    if missing:
        raise click.UsageError(
            f"{operation} needs {', '.join(missing)}; see: builderos api {operation} --describe"
        )
    if not found.is_json:
        return _download(caller, client, found, values, out)
    path, sent = found.route(values)
    reply = client.call(found.method, path, sent, once="idempotency_key" in found.fields)
    if out is not None:
        _write(out, [json.dumps(reply, ensure_ascii=False, indent=2).encode() + b"\n"])
        return 0
    return caller.show(reply, json.dumps(reply, ensure_ascii=False, indent=2))


def _find(caller: Caller, client: Client, name: str) -> Operation:
    known = contract.load(client, caller.edition)
    if name not in known.names:
        contract.forget(client, caller.edition)  # the server may be newer than what was kept
        known = contract.load(client, caller.edition)
    found = known.operation(name)
    if found is not None:
        return found
    import difflib

    near = difflib.get_close_matches(name, known.names, 3, 0.5)
    hint = f"; did you mean {', '.join(near)}?" if near else "; list them with: builderos api"
    raise click.UsageError(f"there is no operation {name}{hint}")


def _list(caller: Caller, found: contract.Contract) -> int:
    shown = ("name", "method", "path", "summary", "group", "profile", "consequential", "deprecated")
    rows: list[Json] = [{name: getattr(each, name) for name in shown} for each in found.operations.values()]
    return caller.show({"items": rows}, table(rows, COLUMNS))


def _describe(caller: Caller, operation: Operation) -> int:
    needed = operation.required
    rows: list[Json] = [
        {
            "name": name,
            "type": _type(field),
            "needed": name in needed,
            "description": field.get("description"),
        }
        for name, field in operation.fields.items()
    ]
    head = [operation.summary, f"{operation.method} {operation.path}", ""]
    return caller.show(
        {"operation": operation.name, "method": operation.method, "path": operation.path, "fields": rows},
        [*head, table(rows, _FIELDS) if rows else "It takes no input"],
    )


def _type(schema: Json) -> str:
    if "enum" in schema:
        return "|".join(map(word, schema["enum"]))
    return str(schema.get("type", "json"))


def _body(text: str | None) -> Json:
    """The JSON object that `--body` gives. Raises `UsageError`."""
    if text is None:
        return {}
    try:
        found = json.loads(_text(text))
    except (OSError, ValueError) as error:
        raise click.UsageError(f"--body: {error}") from error
    if not isinstance(found, dict):
        raise click.UsageError("--body must be a JSON object")
    return found  # pyright: ignore[reportUnknownVariableType]


def _text(text: str) -> str:
    if text == "-":
        return sys.stdin.read()
    return Path(text[1:]).read_text("utf-8") if text.startswith("@") else text


def _field(operation: Operation, text: str) -> tuple[str, Any]:
    """`name=value` with the value as the contract wants it. Raises `UsageError`."""
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"--field {text}: write it as NAME=VALUE")
    if name not in operation.fields:
        raise click.UsageError(
            f"{operation.name} has no field {name}; see: builderos api {operation.name} --describe"
        )
    schema = operation.fields[name]
    if schema.get("type") == "string" or "enum" in schema:
        return name, value
    if schema.get("type") == "array" and not value.startswith("["):
        return name, value.split(",")
    try:
        return name, json.loads(value)
    except ValueError:
        if "type" not in schema:
            return name, value
        raise click.UsageError(f"--field {name}: {value!r} is not {_type(schema)}") from None


def _download(caller: Caller, client: Client, operation: Operation, values: Json, out: str | None) -> int:
    """A reply that may be bytes: JSON is shown as such, anything else goes to stdout or into the file."""
    path, sent = operation.route(values)
    pieces = client.stream(operation.method, path, sent)
    first = next(pieces, b"")
    if client.media_type == "application/json" and out is None:
        reply = json.loads(b"".join((first, *pieces)))
        return caller.show(reply, json.dumps(reply, ensure_ascii=False, indent=2))
    if out is not None:
        size = _write(out, itertools.chain([first], pieces))
        return caller.show({"file": out, "bytes": size}, f"Wrote {size} bytes to {out}")
    if caller.json:
        raise click.UsageError(f"{operation.name} answers with {client.media_type}; name a file with --out")
    for piece in itertools.chain([first], pieces):
        sys.stdout.buffer.write(piece)
    sys.stdout.flush()
    return 0


def _write(path: str, pieces: Iterable[bytes]) -> int:
    try:
        with open(path, "wb") as target:
            return sum(map(target.write, pieces))
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror}") from error
