"""Signing in at a server, for a while, and out again."""

import os
import webbrowser
from typing import Any, Final

import click

from builderos.client import signing_in
from builderos.client.errors import ClientError

from .caller import Caller
from .commands import Verb

SCOPES: Final = ("read", "write", "promote", "approve", "admin")


@click.command("login", cls=Verb)
@click.option("--device", is_flag=True, help="Show a code to type in a browser of another machine.")
@click.option(
    "--scope", "scopes", type=click.Choice(SCOPES), multiple=True, help="Ask for this alone; repeat."
)
@click.pass_obj
def login(caller: Caller, device: bool, scopes: tuple[str, ...]) -> int:
    """Sign in with your browser; commands for this server then act as you, until `builderos logout`."""
    client, asked = caller.bearer(None), scopes or SCOPES
    if device or not has_browser():
        found = signing_in.with_code(client, asked, lambda address, code: _show_code(caller, address, code))
    else:
        found = signing_in.with_browser(client, asked, lambda address: _open(caller, address))
    before = caller.places.login()
    caller.places.keep_login(found)
    if before is not None:
        _end(caller, before)
    me = caller.bearer(found["access_token"]).call("GET", "/v1/me")
    shown = {
        "message": f"You are signed in to {me['org_slug']} as {_name(me)}.",
        "scopes": found["scope"].split(),
    }
    return caller.tell({**me, **shown}, "role", "scopes")


@click.command("logout", cls=Verb)
@click.pass_obj
def logout(caller: Caller) -> int:
    """Sign out: end what `builderos login` began, here and at the server."""
    found = caller.places.login()
    if found is None:
        return caller.show({"signed_out": False}, "You were not signed in")
    caller.places.keep_login(None)
    _end(caller, found)
    return caller.show({"signed_out": True}, "You are signed out")


@click.command("whoami", cls=Verb)
@click.pass_obj
def whoami(caller: Caller) -> int:
    """Say who you are to this server, and in which organisation."""
    me = caller.client().call("GET", "/v1/me")
    return caller.tell({**me, "message": f"{_name(me)} in {me['org_slug']}"}, "role", "scopes", "branch")


def _name(me: dict[str, Any]) -> str:
    return str(me.get("name") or me.get("email") or me.get("label"))


def _end(caller: Caller, login: dict[str, Any]) -> None:
    """Tell the server; what it cannot hear now ends by itself after two weeks."""
    try:
        signing_in.end(caller.bearer(None), login)
    except ClientError as error:
        caller.say(f"Warning: the server did not end the session: {error.detail}")


def has_browser() -> bool:
    """Whether a browser can open where the person sits: not at the other end of a remote terminal."""
    if os.environ.get("SSH_CONNECTION") and not os.environ.get("BROWSER"):
        return False
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True


def _open(caller: Caller, address: str) -> None:
    caller.say(f"Your browser opens. If it does not, go to:\n{address}")
    webbrowser.open(address)


def _show_code(caller: Caller, address: str, code: str) -> None:
    caller.say(f"Open {address} in a browser and type this code:\n\n  {code}\n")
