"""Members, invites and tokens."""

from typing import Final
from urllib.parse import quote

import click

from .caller import Caller, read_token
from .commands import Noun
from .options import fields

ROLES: Final = click.Choice(["org_owner", "admin", "builder", "reviewer", "viewer"])
SCOPES: Final = click.Choice(["read", "write", "promote", "approve", "admin"])
MEMBERS: Final = (("id", "MEMBER"), ("kind", "KIND"), ("role", "ROLE"), ("name", "NAME"), ("email", "E-MAIL"))
INVITES: Final = (("id", "INVITE"), ("email", "E-MAIL"), ("role", "ROLE"), ("expires_at", "EXPIRES"))
TOKENS: Final = (
    ("id", "TOKEN"), ("kind", "KIND"), ("label", "LABEL"), ("scopes", "SCOPES"), ("expires_at", "EXPIRES"),
)  # fmt: skip
SESSIONS: Final = (("id", "SESSION"), ("method", "BY"), ("created_at", "SINCE"), ("used_at", "LAST USED"))


def _at(path: str, id_: str) -> str:
    return f"{path}/{quote(id_, safe='')}"


@click.group("member", cls=Noun)
def member() -> None:
    """Invite, list, change and remove members."""


@member.command("list")
@click.pass_obj
def list_members(caller: Caller) -> int:
    """List the members of the organisation."""
    return caller.listing(caller.client().call("GET", "/v1/members"), MEMBERS, "There are no members")


@member.command()
@click.argument("email")
@click.option("--role", type=ROLES, required=True, help="What the person may do.")
@click.pass_obj
def invite(caller: Caller, email: str, role: str) -> int:
    """Invite a person; the invite is shown once."""
    reply = caller.client().call("POST", "/v1/invites", {"email": email, "role": role}, once=True)
    return caller.tell(reply, "id", "invite_token", "role", "expires_at")


@member.command()
@click.pass_obj
def invites(caller: Caller) -> int:
    """List the invites that can still be accepted."""
    return caller.listing(caller.client().call("GET", "/v1/invites"), INVITES, "There are no open invites")


@member.command()
@click.argument("id", metavar="INVITE")
@click.pass_obj
def uninvite(caller: Caller, id: str) -> int:
    """End an invite."""
    return caller.tell(caller.client().call("DELETE", _at("/v1/invites", id)), "id")


@member.command()
@click.argument("invite", metavar="INVITE_TOKEN")
@click.option("--name", help="How the others see you.")
@click.pass_obj
def join(caller: Caller, invite: str, name: str | None) -> int:
    """Accept an invite (- reads it from stdin) and get a session."""
    body = {"invite_token": read_token(invite)} | fields(name=name)
    reply = caller.bearer(None).call("POST", "/v1/invites/accept", body)
    return caller.tell(reply, "member_id", "role", "org_slug", "access_token", "refresh_token")


@member.command("add-service")
@click.argument("label")
@click.option(
    "--role", type=click.Choice(["admin", "builder", "viewer"]), required=True, help="What it may do."
)
@click.pass_obj
def add_service(caller: Caller, label: str, role: str) -> int:
    """Make a service account for a program."""
    reply = caller.client().call("POST", "/v1/service-accounts", {"label": label, "role": role}, once=True)
    return caller.show(reply, f"{reply['id']}  {reply['role']}  {reply['label']}")


@member.command()
@click.argument("id", metavar="MEMBER")
@click.option("--role", type=ROLES, required=True, help="What the member may do from now on.")
@click.pass_obj
def change(caller: Caller, id: str, role: str) -> int:
    """Give a member another role."""
    reply = caller.client().call("POST", _at("/v1/members", id), {"role": role})
    return caller.show(reply, f"{reply['id']} is {reply['role']} now")


@member.command()
@click.argument("id", metavar="MEMBER")
@click.pass_obj
def remove(caller: Caller, id: str) -> int:
    """End a membership and everything that acts on its behalf."""
    return caller.tell(caller.client().call("DELETE", _at("/v1/members", id)), "id")


@member.command("hand-over")
@click.argument("id", metavar="MEMBER")
@click.pass_obj
def hand_over(caller: Caller, id: str) -> int:
    """Make somebody else an owner of the organisation, and yourself an admin."""
    reply = caller.client().call("POST", f"{_at('/v1/members', id)}/ownership")
    return caller.show(reply, f"{reply['id']} is {reply['role']} now, and you are admin")


@member.command()
@click.argument("slug")
@click.pass_obj
def leave(caller: Caller, slug: str) -> int:
    """Leave the organisation, with everything that acts on your behalf; type its slug."""
    return caller.tell(caller.client().call("DELETE", "/v1/me/membership", {"confirm": slug}), "id")


@click.group("token", cls=Noun)
def token() -> None:
    """Create, list and revoke your tokens, and sign out of sessions."""


@token.command("create")
@click.argument("label")
@click.option("--scope", "scopes", type=SCOPES, multiple=True, required=True, help="What it carries; repeat.")
@click.option("--service-account", metavar="ID", help="Make it for this service account.")
@click.option("--expires", metavar="TIME", help="When it ends; 90 days from now when unsaid.")
@click.pass_obj
def create_token(
    caller: Caller, label: str, scopes: tuple[str, ...], service_account: str | None, expires: str | None
) -> int:
    """Make a token; it is shown once."""
    body = {"label": label, "scopes": list(scopes)}
    body |= fields(service_account=service_account, expires_at=expires)
    reply = caller.client().call("POST", "/v1/tokens", body, once=True)
    return caller.tell(reply, "id", "token", "scopes", "expires_at")


@token.command("list")
@click.pass_obj
def list_tokens(caller: Caller) -> int:
    """List your tokens, without their secrets."""
    return caller.listing(caller.client().call("GET", "/v1/tokens"), TOKENS, "There are no tokens")


@token.command()
@click.argument("id", metavar="TOKEN")
@click.pass_obj
def revoke(caller: Caller, id: str) -> int:
    """Make a token useless at once."""
    return caller.tell(caller.client().call("DELETE", _at("/v1/tokens", id)), "id")


@token.command()
@click.pass_obj
def sessions(caller: Caller) -> int:
    """List where you are signed in."""
    return caller.listing(caller.client().call("GET", "/v1/me/sessions"), SESSIONS, "There are no sessions")


@token.command("sign-out")
@click.argument("id", metavar="SESSION")
@click.pass_obj
def sign_out(caller: Caller, id: str) -> int:
    """End one of your sessions."""
    return caller.tell(caller.client().call("DELETE", _at("/v1/me/sessions", id)), "id")
