"""Where members of an organisation sign in, and which programs may ask them to."""

from typing import Final
from urllib.parse import quote

import click

from .caller import Caller, read_token
from .commands import Noun
from .options import fields

PROVIDERS: Final = (
    ("id", "PROVIDER"), ("label", "LABEL"), ("issuer", "ISSUER"), ("domains", "DOMAINS"), ("join_role", "JOIN AS"),
)  # fmt: skip
PROGRAMS: Final = (("id", "PROGRAM"), ("name", "NAME"), ("redirect_uris", "BACK TO"), ("created_at", "SINCE"))
_PROVIDERS: Final = "/v1/identity-providers"
_PROGRAMS: Final = "/v1/oauth-clients"
_BACK: Final = click.option(
    "--back-to",
    "uris",
    multiple=True,
    required=True,
    metavar="URL",
    help="Where it may be sent back to; repeat.",
)


@click.group("sso", cls=Noun)
def sso() -> None:
    """Let members sign in at an OpenID Connect provider of the organisation's own."""


@sso.command("add")
@click.argument("label")
@click.option("--issuer", required=True, metavar="URL", help="Its issuer, e.g. https://id.acme.example.")
@click.option("--client-id", required=True, metavar="ID", help="Our client id there.")
@click.option("--secret", metavar="SECRET", help="Our client secret there: @FILE, or - for stdin.")
@click.option("--domain", "domains", multiple=True, help="Whose addresses count; repeat. All when unsaid.")
@click.option(
    "--join-as",
    "join_role",
    type=click.Choice(["builder", "reviewer", "viewer"]),
    help="Let people of these domains in without an invite.",
)
@click.option("--listed", is_flag=True, help="Show it to everybody on the page of signing in.")
@click.pass_obj
def add_provider(
    caller: Caller, label: str, issuer: str, client_id: str, secret: str | None, domains: tuple[str, ...],
    join_role: str | None, listed: bool,
) -> int:  # fmt: skip
    """Connect a provider; prints the address at which members sign in."""
    body = {
        "label": label,
        "issuer": issuer,
        "client_id": client_id,
        "domains": list(domains),
        "listed": listed,
    }
    body |= fields(client_secret=read_token(secret) if secret else None, join_role=join_role)
    reply = caller.client().call("POST", _PROVIDERS, body, once=True)
    return caller.show(reply, [reply["id"], f"Members sign in at {reply['sign_in_url']}"])


@sso.command("list")
@click.pass_obj
def list_providers(caller: Caller) -> int:
    """List the organisation's providers."""
    return caller.listing(caller.client().call("GET", _PROVIDERS), PROVIDERS, "There are no providers")


@sso.command("change")
@click.argument("id", metavar="PROVIDER")
@click.option("--label", help="Name on the button.")
@click.option("--client-id", metavar="ID", help="Our client id there.")
@click.option("--secret", metavar="SECRET", help="Our new client secret there: @FILE, or - for stdin.")
@click.option("--domain", "domains", multiple=True, help="Whose addresses count from now on; repeat.")
@click.option(
    "--join-as", "join_role", type=click.Choice(["builder", "reviewer", "viewer"]), help="Who joins is that."
)
@click.option(
    "--listed/--unlisted", default=None, help="Whether everybody sees it on the page of signing in."
)
@click.pass_obj
def change_provider(
    caller: Caller, id: str, label: str | None, client_id: str | None, secret: str | None, domains: tuple[str, ...],
    join_role: str | None, listed: bool | None,
) -> int:  # fmt: skip
    """Change a provider, e.g. give it a new secret; what is not said stays."""
    body = fields(
        label=label, client_id=client_id, client_secret=read_token(secret) if secret else None, join_role=join_role,
        domains=list(domains) or None, listed=listed,
    )  # fmt: skip
    reply = caller.client().call("POST", f"{_PROVIDERS}/{quote(id, safe='')}", body, once=True)
    return caller.show(reply, f"{reply['id']}  {reply['label']}")


@sso.command("remove")
@click.argument("id", metavar="PROVIDER")
@click.pass_obj
def remove_provider(caller: Caller, id: str) -> int:
    """Let nobody sign in there any more."""
    return caller.tell(caller.client().call("DELETE", f"{_PROVIDERS}/{quote(id, safe='')}"), "id")


@click.group("program", cls=Noun)
def program() -> None:
    """Register programs whose users sign in here, e.g. actions of a chat model."""


@program.command("add")
@click.argument("name")
@_BACK
@click.option("--public", is_flag=True, help="It cannot keep a secret and uses PKCE alone.")
@click.pass_obj
def add_program(caller: Caller, name: str, uris: tuple[str, ...], public: bool) -> int:
    """Register a program; its secret is shown once."""
    body = {"name": name, "redirect_uris": list(uris), "confidential": not public}
    reply = caller.client().call("POST", _PROGRAMS, body, once=True)
    return caller.tell(reply, "id", "client_secret")


@program.command("list")
@click.pass_obj
def list_programs(caller: Caller) -> int:
    """List the programs, without their secrets."""
    return caller.listing(caller.client().call("GET", _PROGRAMS), PROGRAMS, "There are no programs")


@program.command("change")
@click.argument("id", metavar="PROGRAM")
@_BACK
@click.pass_obj
def change_program(caller: Caller, id: str, uris: tuple[str, ...]) -> int:
    """Change where a program may be sent back to."""
    reply = caller.client().call("POST", f"{_PROGRAMS}/{quote(id, safe='')}", {"redirect_uris": list(uris)})
    return caller.show(reply, f"{reply['id']} goes back to {', '.join(reply['redirect_uris'])}")


@program.command("remove")
@click.argument("id", metavar="PROGRAM")
@click.pass_obj
def remove_program(caller: Caller, id: str) -> int:
    """Remove a program and end what members let it do."""
    return caller.tell(caller.client().call("DELETE", f"{_PROGRAMS}/{quote(id, safe='')}"), "id")
