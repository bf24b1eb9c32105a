"""API keys."""

from urllib.parse import quote

import click

from .caller import Caller
from .commands import Noun
from .options import fields

COLUMNS = (
    ("id", "KEY"),
    ("label", "LABEL"),
    ("scopes", "SCOPES"),
    ("created_at", "CREATED"),
    ("expires_at", "EXPIRES"),
)


@click.group("key", cls=Noun)
def command() -> None:
    """Create, list and revoke API keys."""


@command.command()
@click.argument("label")
@click.option("--scope", "scopes", multiple=True, required=True, help="What it may do; repeat for more.",
              type=click.Choice(["read", "write", "promote", "approve", "admin"]))  # fmt: skip
@click.option("--expires", metavar="TIME", help="When it ends, e.g. 2027-01-31T12:00:00Z.")
@click.pass_obj
def create(caller: Caller, label: str, scopes: tuple[str, ...], expires: str | None) -> int:
    """Make an API key; it is shown once."""
    body = {"label": label, "scopes": list(scopes)} | fields(expires_at=expires)
    reply = caller.client().call("POST", "/v1/api-keys", body, once=True)
    return caller.tell(reply, "id", "api_key", "scopes", "expires_at")


@command.command("list")
@click.pass_obj
def list_(caller: Caller) -> int:
    """List the API keys, without their secrets."""
    reply = caller.client().call("GET", "/v1/api-keys")
    return caller.listing(reply, COLUMNS, "There are no API keys")


@command.command()
@click.argument("id", metavar="KEY")
@click.pass_obj
def revoke(caller: Caller, id: str) -> int:
    """Make an API key useless at once."""
    return caller.tell(caller.client().call("DELETE", f"/v1/api-keys/{quote(id, safe='')}"), "id")
