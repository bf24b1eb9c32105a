"""What belongs to the ledger: who read what, how long it is kept, where it is sent to. Verbs of `builderos audit`."""

import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from builderos.client.http import Json

from .caller import Caller
from .commands import Verb
from .options import fields, paged
from .output import facts

READS = (
    ("at", "TIME"),
    ("actor_name", "BY"),
    ("action", "HOW"),
    ("repo", "REPO"),
    ("branch", "BRANCH"),
    ("path", "FILE"),
)
SINKS = (("id", "SINK"), ("name", "NAME"), ("kind", "KIND"), ("stream", "WHAT"), ("cursor", "UP TO"),
         ("last_at", "LAST"), ("last_error", "ERROR"), ("test_error", "TEST"))  # fmt: skip
HOLDS = (
    ("id", "HOLD"),
    ("subject", "OF"),
    ("reason", "WHY"),
    ("created_at", "SINCE"),
    ("released_at", "RELEASED"),
)


@click.command(cls=Verb)
@click.option("--actor", help="Only what this actor read.")
@click.option("--path", help="Only this file.")
@click.option("-b", "--branch", help="Only of this branch.")
@click.option("--action", help="Only in this way, e.g. git.fetch.")
@click.option("--from", "from_", metavar="TIME", help="Not before, e.g. 2026-03-01T00:00:00Z.")
@click.option("--to", metavar="TIME", help="Before.")
@click.option(
    "--export", "file", type=click.Path(dir_okay=False, writable=True), help="Write all rows into this file."
)
@click.option("--format", "format_", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True)
@paged
@click.pass_obj
def reads(caller: Caller, file: str | None, format_: str, from_: str | None, **query: Any) -> int:
    """List who read which file, newest first, or export all of it."""
    if file is None:
        reply = caller.client().call("GET", "/v1/audit/access", fields(**query, **{"from": from_}))
        return caller.listing(reply, READS, "Nobody read anything that fits")
    try:
        with open(file, "wb") as target:
            size = caller.client().save("GET", "/v1/audit/access/export", {"format": format_}, target)
    except OSError as error:
        raise click.ClickException(f"cannot write {file}: {error.strerror}") from error
    return caller.show({"file": file, "bytes": size, "format": format_}, f"Wrote {size} bytes to {file}")


@click.command(cls=Verb)
@click.option(
    "--access-days", type=click.IntRange(1, 36_500), help="Days for which it is kept who read what."
)
@click.option("--words-days", type=click.IntRange(1, 36_500), help="Days for which people's words are kept.")
@click.option("--reset", is_flag=True, help="Both as if they had never been set.")
@click.pass_obj
def retention(caller: Caller, access_days: int | None, words_days: int | None, reset: bool) -> int:
    """Show or set how long things are kept; lines of the ledger are kept always."""
    client = caller.client()
    if reset or access_days or words_days:
        now: Json = {} if reset else client.call("GET", "/v1/audit/retention")
        wanted = fields(
            access_days=access_days or now.get("access_days"), words_days=words_days or now.get("words_days")
        )
        reply = client.call("POST", "/v1/audit/retention", wanted)
    else:
        reply = client.call("GET", "/v1/audit/retention")
    return caller.show(reply, facts(reply, ("access_days", "words_days")))


@click.command(cls=Verb)
@click.option("--reason", help="Begin a hold, for this reason.")
@click.option("--subject", metavar="ID", help="Only what concerns this member or actor.")
@click.option("--release", metavar="HOLD", help="Release this hold.")
@click.pass_obj
def hold(caller: Caller, reason: str | None, subject: str | None, release: str | None) -> int:
    """List legal holds, begin or release one: nothing that is held is forgotten."""
    client = caller.client()
    if release is not None:
        reply = client.call("DELETE", f"/v1/audit/holds/{quote(release, safe='')}")
        return caller.show(reply, f"{reply['id']} is released")
    if reason is None:
        if subject is not None:
            raise click.UsageError("a hold needs a reason: --reason")
        return caller.listing(client.call("GET", "/v1/audit/holds"), HOLDS, "Nothing is held")
    reply = client.call("POST", "/v1/audit/holds", fields(reason=reason, subject=subject))
    return caller.show(reply, f"{reply['id']} holds {'everything' if subject is None else subject}")


@click.command(cls=Verb)
@click.argument("subject", metavar="ID")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def erase(caller: Caller, subject: str, yes: bool) -> int:
    """Erase what a member or actor wrote; the ledger still verifies."""
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("this cannot be undone: say --yes")
        click.confirm(f"Erase every word of {subject}? This cannot be undone.", abort=True)
    reply = caller.client().call("POST", "/v1/audit/erase", {"subject": subject})
    return caller.show(reply, [f"{reply['words']} texts beside the ledger are gone", str(reply["message"])])


@click.command(cls=Verb)
@click.pass_obj
def sinks(caller: Caller) -> int:
    """List where the ledger is sent to, and how far each sink has it."""
    return caller.listing(caller.client().call("GET", "/v1/audit/sinks"), SINKS, "The ledger is sent nowhere")


@click.command("sink-add", cls=Verb)
@click.argument("name")
@click.option("--webhook", metavar="URL", help="POST signed batches to this address.")
@click.option("--syslog", metavar="HOST:PORT", help="Send RFC 5424 messages.")
@click.option(
    "--transport",
    type=click.Choice(["tls", "tcp", "udp"]),
    default="tls",
    show_default=True,
    help="Of syslog.",
)
@click.option("--file", "file", is_flag=True, help="Append to a file in the server's state folder.")
@click.option("--s3", metavar="BUCKET", help="Put objects into this bucket.")
@click.option("--region", default="us-east-1", show_default=True, help="Of the bucket.")
@click.option("--endpoint", metavar="URL", help="Of another service that speaks S3.")
@click.option("--key-id", metavar="ID", help="Access key of the bucket.")
@click.option(
    "--secret-file", type=click.Path(exists=True, dir_okay=False), help="File with the bucket's secret key."
)
@click.option("--stream", type=click.Choice(["ledger", "access"]), default="ledger", show_default=True,
              help="The ledger, or who read what.")  # fmt: skip
@click.option("--from-start", is_flag=True, help="Send what was recorded before, too.")
@click.pass_obj
def sink_add(caller: Caller, name: str, stream: str, from_start: bool, **where: Any) -> int:
    """Send the ledger to a webhook, a syslog server, a file or a bucket."""
    body = {"name": name, "stream": stream, "from_start": from_start, **_place(**where)}
    reply = caller.client().call("POST", "/v1/audit/sinks", body, once=True)
    return caller.show(reply, facts(reply, ("id", "name", "kind", "stream", "cursor", "secret")))


def _place(webhook: str | None, syslog: str | None, transport: str, file: bool, s3: str | None, region: str,
           endpoint: str | None, key_id: str | None, secret_file: str | None) -> Json:  # fmt: skip
    found: Json = {}
    if webhook is not None:
        found["webhook"] = {"url": webhook}
    if syslog is not None:
        host, _, port = syslog.rpartition(":")
        if not host or not port.isdigit():
            raise click.UsageError("name a syslog server as HOST:PORT, e.g. logs.example.com:6514")
        found["syslog"] = {"host": host, "port": int(port), "transport": transport}
    if file:
        found["file"] = {}
    if s3 is not None:
        if key_id is None or secret_file is None:
            raise click.UsageError("a bucket needs --key-id and --secret-file")
        secret = Path(secret_file).read_text("utf-8").strip()
        more = {"region": region, "access_key_id": key_id, "secret_access_key": secret}
        found["s3"] = {"bucket": s3, **more, **fields(endpoint=endpoint)}
    if len(found) != 1:
        raise click.UsageError("say where: one of --webhook, --syslog, --file and --s3")
    return found


@click.command("sink-test", cls=Verb)
@click.argument("id_", metavar="SINK")
@click.pass_obj
def sink_test(caller: Caller, id_: str) -> int:
    """Send a sink a batch of its own; `audit sinks` tells a moment later what became of it."""
    reply = caller.client().call("POST", f"/v1/audit/sinks/{quote(id_, safe='')}/test", {})
    return caller.show(reply, f"A test is on its way to {reply['name']}; see: builderos audit sinks")


@click.command("sink-delete", cls=Verb)
@click.argument("id_", metavar="SINK")
@click.pass_obj
def sink_delete(caller: Caller, id_: str) -> int:
    """Send nothing to a sink any more."""
    reply = caller.client().call("DELETE", f"/v1/audit/sinks/{quote(id_, safe='')}")
    return caller.show(reply, str(reply["message"]))


VERBS = (reads, retention, hold, erase, sinks, sink_add, sink_test, sink_delete)
