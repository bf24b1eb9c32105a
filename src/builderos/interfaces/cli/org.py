"""Organisations: make them, look at them, say how they are found, end them."""

from typing import Final
from urllib.parse import quote

import click

from .caller import Caller
from .commands import Noun
from .options import fields

ORG: Final = ("id", "slug", "name", "anonymous", "closing_at", "erase_at")


@click.group("org", cls=Noun)
def org() -> None:
    """Make, look at, open, close and route organisations."""


def _own(caller: Caller) -> str:
    return str(caller.client().call("GET", "/v1/me")["org_id"])


def _at(slug: str, verb: str = "") -> str:
    return f"/v1/orgs/{quote(slug, safe='')}" + (f"/{verb}" if verb else "")


@org.command("create")
@click.argument("slug")
@click.option("--name", required=True, help="Name for people.")
@click.option("--owner-email", required=True, metavar="ADDRESS", help="Who owns it first.")
@click.option("--anonymous", is_flag=True, help="Let people without a credential open workspaces in it.")
@click.pass_obj
def create_org(caller: Caller, slug: str, name: str, owner_email: str, anonymous: bool) -> int:
    """Make an organisation; prints the invite of its first owner once."""
    body = {"slug": slug, "name": name, "owner_email": owner_email, "anonymous": anonymous}
    reply = caller.client().call("POST", "/v1/orgs", body, once=True)
    return caller.tell(reply, "id", "slug", "invite_token", "invite_expires_at")


@org.command("show")
@click.pass_obj
def show_org(caller: Caller) -> int:
    """Show your organisation."""
    reply = caller.client().call("GET", _at(_own(caller)))
    return caller.show(reply, [f"{key}: {reply[key]}" for key in ORG if reply[key] is not None])


@org.command("change")
@click.option("--name", help="Name for people.")
@click.option(
    "--anonymous/--no-anonymous",
    default=None,
    help="Let people without a credential open workspaces in it, or not.",
)
@click.pass_obj
def change_org(caller: Caller, name: str | None, anonymous: bool | None) -> int:
    """Rename your organisation, or open it to people without a credential, or no longer."""
    reply = caller.client().call("POST", _at(_own(caller)), fields(name=name, anonymous=anonymous))
    return caller.show(reply, f"{reply['slug']}: {reply['name']}, anonymous: {reply['anonymous']}")


@org.command("close")
@click.argument("slug")
@click.option("--confirm", required=True, metavar="SLUG", help="The slug again: all of it will be gone.")
@click.pass_obj
def close_org(caller: Caller, slug: str, confirm: str) -> int:
    """Close your organisation: in thirty days everything in it is erased."""
    reply = caller.client().call("POST", _at(slug, "close"), {"confirm": confirm})
    return caller.show(
        reply, f"{slug} is closed, and erased after {reply['erase_at']}. builderos org keep takes it back."
    )


@org.command("keep")
@click.pass_obj
def keep_org(caller: Caller) -> int:
    """Open your closing organisation again, with everything in it."""
    reply = caller.client().call("POST", _at(_own(caller), "keep"))
    return caller.show(reply, f"{reply['slug']} is open again")


@org.command("route")
@click.argument("slug")
@click.option("--new-slug", metavar="SLUG", help="Another short name.")
@click.option(
    "--pattern", "patterns", multiple=True, help="Repositories that are its own: acme/* or acme-*; repeat."
)
@click.option("--no-patterns", is_flag=True, help="None any more.")
@click.pass_obj
def route_org(
    caller: Caller, slug: str, new_slug: str | None, patterns: tuple[str, ...], no_patterns: bool
) -> int:
    """Say by which slug and which names of repositories an organisation is found (the server's owner)."""
    body = fields(slug=new_slug, patterns=list(patterns))
    if no_patterns:
        body["patterns"] = []
    reply = caller.client().call("POST", _at(slug, "routing"), body)
    return caller.show(reply, f"{reply['slug']}: {', '.join(reply['patterns']) or 'no patterns'}")
