"""Webhooks: what happens here, told to systems of yours."""

from urllib.parse import quote

import click

from builderos.client.http import Json

from .caller import Caller
from .commands import Noun
from .options import fields, paged
from .output import facts, table

COLUMNS = (
    ("id", "WEBHOOK"),
    ("state", "STATE"),
    ("url", "URL"),
    ("events", "EVENTS"),
    ("failing_since", "FAILING"),
)
SENT = (("id", "DELIVERY"), ("state", "STATE"), ("type", "EVENT"), ("attempts", "TRIES"), ("last.status", "STATUS"),
        ("last.latency_ms", "MS"), ("last.error", "ERROR"), ("created_at", "AT"))  # fmt: skip
FACTS = ("id", "url", "events", "repo", "branch", "state", "old_secret_until", "failing_since", "secret")
_EVENTS = click.option("-e", "--event", "events", multiple=True, help="A type, a kind like approval.*, or *.")


@click.group("webhook", cls=Noun)
def command() -> None:
    """Send events to addresses of yours, and see how it went."""


@command.command()
@click.argument("address")
@_EVENTS
@click.option("-r", "--repo", help="Only events of this repository.")
@click.option("-b", "--branch", help="Only events of branches like this; * is any text.")
@click.option("--description", help="What it is for.")
@click.pass_obj
def create(caller: Caller, address: str, events: tuple[str, ...], **more: str | None) -> int:
    """Add a webhook; its secret is shown once."""
    body = {"url": address, **fields(events=list(events), **more)}
    reply = caller.client().call("POST", "/v1/webhooks", body, once=True)
    return caller.show(reply, [str(reply["message"]), *facts(reply, FACTS)])


@command.command("list")
@click.pass_obj
def list_(caller: Caller) -> int:
    """List the webhooks of your organisation."""
    return caller.listing(caller.client().call("GET", "/v1/webhooks"), COLUMNS, "There are no webhooks")


@command.command()
@click.argument("id")
@_EVENTS
@click.option("--address", help="Another address.")
@click.option("--state", type=click.Choice(["active", "paused"]), help="Pause it, or wake it up.")
@click.pass_obj
def change(caller: Caller, id: str, events: tuple[str, ...], address: str | None, state: str | None) -> int:
    """Change a webhook."""
    body = fields(events=list(events), url=address, state=state)
    reply = caller.client().call("POST", _path(id), body)
    return caller.show(reply, facts(reply, FACTS))


@command.command()
@click.argument("id")
@click.option("--overlap-hours", type=click.IntRange(0, 168), default=24, show_default=True,
              help="How long the old secret signs, too.")  # fmt: skip
@click.pass_obj
def rotate(caller: Caller, id: str, overlap_hours: int) -> int:
    """Give a webhook a new secret; it is shown once."""
    reply = caller.client().call("POST", _path(id, "secret"), {"overlap_hours": overlap_hours}, once=True)
    return caller.show(reply, [str(reply["message"]), *facts(reply, FACTS)])


@command.command()
@click.argument("id")
@click.pass_obj
def ping(caller: Caller, id: str) -> int:
    """Try a webhook with an event of its own."""
    reply = caller.client().call("POST", _path(id, "ping"), {}, once=True)
    return caller.show(reply, f"{reply['id']} is on its way; see builderos webhook log {id}")


@command.command()
@click.argument("id")
@click.option("--state", type=click.Choice(["pending", "delivered", "failed", "dropped"]), help="Only these.")
@paged
@click.pass_obj
def log(caller: Caller, id: str, state: str | None, limit: int, cursor: str | None) -> int:
    """List what a webhook was sent and how it went, newest first."""
    query = fields(state=state, limit=limit, cursor=cursor)
    return caller.listing(
        caller.client().call("GET", _path(id, "deliveries"), query), SENT, "Nothing was sent yet"
    )


@command.command()
@click.argument("delivery")
@click.pass_obj
def show(caller: Caller, delivery: str) -> int:
    """Show one delivery: the exact body, and every try."""
    reply = caller.client().call("GET", f"/v1/deliveries/{quote(delivery, safe='')}")
    columns = (
        ("at", "AT"),
        ("status", "STATUS"),
        ("latency_ms", "MS"),
        ("error", "ERROR"),
        ("response", "ANSWER"),
    )
    about = facts(reply, ("id", "type", "event_id", "state", "attempts", "created_at", "done_at"))
    return caller.show(reply, [*about, "", table(reply["tries"], columns), "", str(reply["body"])])


@command.command()
@click.argument("id")
@click.option("--delivery", metavar="ID", help="This one alone; by default all that failed.")
@click.pass_obj
def redeliver(caller: Caller, id: str, delivery: str | None) -> int:
    """Send a delivery again, or all that failed."""
    body: Json = {"delivery_id": delivery} if delivery else {"failed": True}
    reply = caller.client().call("POST", _path(id, "redeliver"), body, once=True)
    return caller.show(reply, str(reply["message"]))


@command.command()
@click.argument("id")
@click.pass_obj
def delete(caller: Caller, id: str) -> int:
    """End a webhook."""
    reply = caller.client().call("DELETE", _path(id))
    return caller.show(reply, str(reply["message"]))


def _path(id: str, what: str = "") -> str:
    return f"/v1/webhooks/{quote(id, safe='')}" + (f"/{what}" if what else "")
