"""Your inbox: what waits for you, and what comes by mail."""

import click

from .caller import Caller
from .commands import Noun
from .options import fields, paged
from .output import facts

COLUMNS = (("id", "ID"), ("read", "READ"), ("weight", "WEIGHT"), ("title", "TITLE"), ("object", "ABOUT"),
           ("at", "SINCE"), ("expires_at", "EXPIRES"))  # fmt: skip
CHOICES = ("mail_approvals", "mail_alerts", "mail_configured")


@click.group("inbox", cls=Noun)
def command() -> None:
    """See what waits for you, and choose what comes by mail."""


@command.command("list")
@click.option("--kind", type=click.Choice(["approval", "alert", "question"]), help="Only these.")
@click.option("--unread", is_flag=True, help="Only what you have not read.")
@paged
@click.pass_obj
def list_(caller: Caller, kind: str | None, unread: bool, limit: int, cursor: str | None) -> int:
    """List requests that you may decide about, questions of runs, and alerts, newest first."""
    query = fields(kind=kind, unread=unread or None, limit=limit, cursor=cursor)
    return caller.listing(caller.client().call("GET", "/v1/inbox", query), COLUMNS, "Nothing waits for you")


@command.command()
@click.argument("ids", nargs=-1, required=True)
@click.option("--undo", is_flag=True, help="Show them as unread again.")
@click.pass_obj
def read(caller: Caller, ids: tuple[str, ...], undo: bool) -> int:
    """Mark things as read."""
    reply = caller.client().call("POST", "/v1/inbox/read", {"items": list(ids), "read": not undo})
    return caller.show(reply, str(reply["message"]))


@command.command()
@click.option("--approvals/--no-approvals", default=None, help="Requests that you may decide about.")
@click.option(
    "--alerts", type=click.Choice(["none", "critical", "warning", "info"]), help="At least this severe."
)
@click.pass_obj
def mail(caller: Caller, approvals: bool | None, alerts: str | None) -> int:
    """Show or choose what comes to you by mail."""
    chosen = fields(mail_approvals=approvals, mail_alerts=alerts)
    client = caller.client()
    reply = (
        client.call("PUT", "/v1/inbox/preferences", chosen)
        if chosen
        else client.call("GET", "/v1/inbox/preferences")
    )
    return caller.show(reply, facts(reply, CHOICES))
