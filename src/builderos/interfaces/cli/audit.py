"""The ledger: look at it, verify it here or there, take it along."""

import base64
import json
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import click

from builderos.client.export import verify_file
from builderos.client.http import Json

from . import audit_keep
from .caller import Caller
from .commands import Noun
from .options import fields, paged

COLUMNS = (("seq", "LINE"), ("at", "TIME"), ("actor_name", "BY"), ("type", "WHAT"), ("object", "OBJECT"))


@click.group("audit", cls=Noun)
def command() -> None:
    """List, verify, sign and export the ledger; see who read what; send the record elsewhere."""


for _verb in audit_keep.VERBS:
    command.add_command(_verb)


@command.command("list")
@click.option("--actor", help="Only what this actor did.")
@click.option("--object", "object_", help="Only about this object.")
@click.option("--type", "type_", metavar="TYPE", help="Only acts of this type, e.g. commit.")
@click.option("-b", "--branch", help="Only on this branch.")
@click.option("--path", help="Only about this file.")
@click.option("--code", help="Only refusals with this code, e.g. forbidden_branch.")
@click.option("--from", "from_", metavar="TIME", help="Not before, e.g. 2026-03-01T00:00:00Z.")
@click.option("--to", metavar="TIME", help="Before.")
@paged
@click.pass_obj
def list_(caller: Caller, object_: str | None, type_: str | None, from_: str | None, **query: Any) -> int:
    """List acts, newest first."""
    query = fields(**query, **{"object": object_, "type": type_, "from": from_})
    reply = caller.client().call("GET", "/v1/audit", query)
    return caller.listing(reply, COLUMNS, "Nothing was recorded that fits")


@command.command()
@click.option("--file", "file", type=click.Path(dir_okay=False), help="Verify this export, without a server.")
@click.option("--public-key", metavar="BASE64", help="Key that must have signed the export's head.")
@click.pass_obj
def verify(caller: Caller, file: str | None, public_key: str | None) -> int:
    """Check every line of the ledger against its chain; exit code 1 names the line that was changed."""
    if file is None:
        reply = caller.client().call("GET", "/v1/audit/verify")
    else:
        try:
            reply = verify_file(file)
        except (OSError, UnicodeDecodeError) as error:
            raise click.UsageError(f"cannot read {file}: {error}") from error
        if reply["ok"]:
            reply |= _signature(reply["head"], public_key)
    caller.show(reply, _verdict(reply))
    return 0 if reply["ok"] else 1


def _signature(head: Json, wanted: str | None) -> Json:
    """What the head's signature adds: without a known key it proves only that the file is whole in itself."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    key = str(head.get("public_key", ""))
    if wanted is not None and key != wanted:
        return {"ok": False, "reason": "the head was signed with another key than the one you named"}
    text = "".join(f"{head.get(name)}\n" for name in ("org_id", "seq", "hash", "at"))
    try:
        signature = base64.b64decode(str(head.get("signature", "")), validate=True)
        Ed25519PublicKey.from_public_bytes(base64.b64decode(key, validate=True)).verify(
            signature, text.encode()
        )
    except (ValueError, InvalidSignature):
        return {"ok": False, "reason": "the signature of the head does not fit"}
    return {"signed_by": key}


def _verdict(reply: Json) -> list[str]:
    if reply["ok"]:
        key = reply.get("signed_by") or reply["head"].get("public_key", "")
        return [f"{reply['lines']} lines, all as they were written", f"  head  {reply['head'].get('hash')}",
                f"  key   {key}"]  # fmt: skip
    where = f"Line {reply['first_bad']}: " if reply["first_bad"] is not None else ""
    return [
        f"{where}{reply['reason'] or 'not everything has its line'}",
        *(f"  {text}" for text in reply.get("findings", [])),
    ]


@command.command()
@click.option("--format", "format_", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True)
@click.option("-o", "--out", type=click.Path(dir_okay=False, writable=True), help="File.  [default: stdout]")
@click.pass_obj
def export(caller: Caller, format_: str, out: str | None) -> int:
    """Write the whole ledger, with its hashes and signed head; `audit verify --file` checks it anywhere."""
    client, query = caller.client(), {"format": format_}
    if out is None:
        if caller.json:
            raise click.UsageError("with --json the export goes into a file: --out FILE")
        client.save("GET", "/v1/audit/export", query, sys.stdout.buffer)
        sys.stdout.flush()
        return 0
    try:
        with open(out, "wb") as target:
            size = client.save("GET", "/v1/audit/export", query, target)
    except OSError as error:
        raise click.ClickException(f"cannot write {out}: {error.strerror}") from error
    return caller.show({"file": out, "bytes": size, "format": format_}, f"Wrote {size} bytes to {out}")


@command.command()
@click.option("--make", is_flag=True, help="Verify and sign what was recorded since the last one, first.")
@click.option(
    "-o", "--out", type=click.Path(dir_okay=False, writable=True), help="Write the note into this file."
)
@click.pass_obj
def checkpoint(caller: Caller, make: bool, out: str | None) -> int:
    """Show the latest signed checkpoint; keep its note, and no line below it can be changed unnoticed."""
    client = caller.client()
    reply = client.call("POST" if make else "GET", "/v1/audit/checkpoint", {})
    if out is not None:
        try:
            Path(out).write_text(reply["note"], "utf-8")
        except OSError as error:
            raise click.ClickException(f"cannot write {out}: {error.strerror}") from error
    late = f"  {reply['waiting']} lines came since" if reply["waiting"] else "  nothing came since"
    return caller.show(reply, [f"{reply['size']} lines are signed", late, f"  key   {reply['public_key']}", "",
                               *reply["note"].rstrip().split("\n")])  # fmt: skip


@command.command()
@click.argument("seq", type=click.IntRange(min=1))
@click.option(
    "--size", type=click.IntRange(min=1), help="Among how many lines.  [default: the latest checkpoint]"
)
@click.option(
    "-o", "--out", type=click.Path(dir_okay=False, writable=True), help="Write the proof into this file."
)
@click.pass_obj
def proof(caller: Caller, seq: int, size: int | None, out: str | None) -> int:
    """Prove that line SEQ is in the signed record, without showing the others."""
    reply = caller.client().call("GET", "/v1/audit/proof", fields(seq=seq, size=size, with_line="true"))
    if out is not None:
        try:
            Path(out).write_text(json.dumps(reply), "utf-8")
        except OSError as error:
            raise click.ClickException(f"cannot write {out}: {error.strerror}") from error
    return caller.show(reply, [f"Line {seq} is among the first {reply['size']}: {len(reply['proof'])} steps",
                               f"  hash  {reply['hash']}", f"  root  {reply['root']}"])  # fmt: skip


@command.command()
@click.pass_obj
def script(caller: Caller) -> int:
    """Print a program that verifies exports and proofs anywhere: it needs Python and `cryptography`, not BuilderOS."""
    text = resources.files("builderos.interfaces.cli").joinpath("verify_audit.py").read_text("utf-8")
    return caller.show({"script": text}, text.rstrip("\n"))
