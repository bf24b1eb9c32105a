"""Alerts."""

from urllib.parse import quote

import click

from .caller import Caller
from .commands import Noun
from .options import fields, paged

COLUMNS = (("id", "ALERT"), ("severity", "SEVERITY"), ("state", "STATE"), ("rule", "RULE"), ("object", "OBJECT"),
           ("count", "COUNT"), ("last_at", "LAST"))  # fmt: skip


@click.group("alert", cls=Noun)
def command() -> None:
    """List and acknowledge alerts."""


@command.command("list")
@click.option("--state", type=click.Choice(["open", "acked", "resolved"]), help="Only these.")
@click.option("--rule", help="Only this rule.")
@paged
@click.pass_obj
def list_(caller: Caller, state: str | None, rule: str | None, limit: int, cursor: str | None) -> int:
    """List what needs a person's attention, newest first."""
    query = fields(state=state, rule=rule, limit=limit, cursor=cursor)
    return caller.listing(caller.client().call("GET", "/v1/alerts", query), COLUMNS, "There are no alerts")


@command.command()
@click.argument("id")
@click.option("--resolve", is_flag=True, help="It is over.")
@click.pass_obj
def ack(caller: Caller, id: str, resolve: bool) -> int:
    """Acknowledge an alert, or resolve it."""
    reply = caller.client().call("POST", f"/v1/alerts/{quote(id, safe='')}/ack", {"resolve": resolve})
    return caller.show(reply, f"{reply['rule']} on {reply['object']} is {reply['state']}")
