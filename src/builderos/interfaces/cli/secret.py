"""Secrets: values come from stdin or a hidden prompt, never from the command line, where others could read them."""

import sys
from typing import Any
from urllib.parse import quote

import click

from builderos.client.http import Json

from .caller import Caller
from .commands import Noun
from .options import fields, paged

COLUMNS = (
    ("key_name", "SECRET"), ("where", "FOR"), ("version", "VERSION"), ("state", "STATE"),
    ("fingerprint", "FINGERPRINT"), ("changed_at", "CHANGED"), ("last_used_at", "LAST USED"),
)  # fmt: skip
FINDINGS = (
    ("fingerprint", "FINGERPRINT"), ("path", "FILE"), ("line", "LINE"), ("preview", "WHAT"), ("branch", "BRANCH"),
    ("times", "TIMES"), ("allowed_until", "ALLOWED UNTIL"),
)  # fmt: skip

_SCOPE = click.option(
    "--for", "scope", metavar="SCOPE", default="org", show_default=True,
    help="org, or project:NAME, environment:NAME, repository:NAME.",
)  # fmt: skip
_REASON = click.option("--reason", required=True, help="Why, for the record.")


@click.group("secret", cls=Noun)
def command() -> None:
    """Keep secrets, and decide about credentials that were kept out of git."""


def _scope(text: str) -> Json:
    kind, _, name = text.partition(":")
    if kind not in ("org", "project", "environment", "repository") or (kind == "org") != (name == ""):
        raise click.UsageError("--for takes org, project:NAME, environment:NAME or repository:NAME")
    return {"scope": kind, "of": name}


def _value(name: str) -> str:
    """From the terminal without showing it, twice; else all of stdin without its last line break."""
    if sys.stdin.isatty():
        return click.prompt(f"Value of {name}", hide_input=True, confirmation_prompt=True, err=True)
    try:
        text = sys.stdin.buffer.read(1_000_000).decode()
    except UnicodeDecodeError as error:
        raise click.UsageError("a value is UTF-8 text; encode other bytes, for example in base64") from error
    return text.removesuffix("\n").removesuffix("\r")


def _set(caller: Caller, name: str, scope: str, **more: Any) -> int:
    body = {"key_name": name, "value": _value(name), **_scope(scope), **fields(**more)}
    reply = caller.client().call("POST", "/v1/secrets", body)
    return caller.show(reply, f"{name} is kept, version {reply['version']}")


@command.command("set")
@click.argument("name")
@_SCOPE
@click.option("--description", help="What it is for.")
@click.pass_obj
def set_(caller: Caller, name: str, scope: str, description: str | None) -> int:
    """Keep a value, read from stdin or a hidden prompt."""
    return _set(caller, name, scope, description=description)


@command.command()
@click.argument("name")
@_SCOPE
@click.pass_obj
def rotate(caller: Caller, name: str, scope: str) -> int:
    """Replace the value of a secret that there is."""
    known = _find(caller, name, scope)
    return _set(caller, name, scope, expected_version=known["version"])


@command.command("list")
@click.pass_obj
def list_(caller: Caller) -> int:
    """List the secrets, without their values."""
    reply = caller.client().call("GET", "/v1/secrets")
    rows = [
        {**item, "where": item["scope"] + (f":{item['of']}" if item["of"] else "")} for item in reply["items"]
    ]
    return caller.listing(reply, COLUMNS, "There are no secrets", rows)


def _find(caller: Caller, name: str, scope: str) -> Json:
    wanted = {"key_name": name, **_scope(scope)}
    for item in caller.client().call("GET", "/v1/secrets")["items"]:
        if wanted.items() <= item.items():
            return item
    raise click.UsageError(f"there is no secret {name} for {scope}; see builderos secret list")


def _state(caller: Caller, name: str, scope: str, state: str) -> int:
    path = f"/v1/secrets/{quote(_find(caller, name, scope)['id'], safe='')}"
    reply = caller.client().call("POST", path, {"state": state})
    return caller.show(reply, f"{name} is {reply['state']}")


@command.command()
@click.argument("name")
@_SCOPE
@click.pass_obj
def disable(caller: Caller, name: str, scope: str) -> int:
    """Release a secret to nobody until it is enabled again."""
    return _state(caller, name, scope, "disabled")


@command.command()
@click.argument("name")
@_SCOPE
@click.pass_obj
def enable(caller: Caller, name: str, scope: str) -> int:
    """Release a secret again."""
    return _state(caller, name, scope, "active")


@command.command()
@click.argument("name")
@_SCOPE
@click.pass_obj
def delete(caller: Caller, name: str, scope: str) -> int:
    """Destroy a secret with all its versions; there is no way back."""
    path = f"/v1/secrets/{quote(_find(caller, name, scope)['id'], safe='')}"
    return caller.tell(caller.client().call("DELETE", path))


@command.command("rotate-key")
@click.pass_obj
def rotate_key(caller: Caller) -> int:
    """Give the organisation's vault a new key and destroy the old one."""
    return caller.tell(caller.client().call("POST", "/v1/vault/rotate-key", {}, once=True))


@command.command()
@click.option("--open", "open_", is_flag=True, help="Only those that nobody has allowed.")
@paged
@click.pass_obj
def findings(caller: Caller, open_: bool, limit: int, cursor: str | None) -> int:
    """List the credentials that were kept out of git."""
    query = fields(open=open_ or None, limit=limit, cursor=cursor)
    reply = caller.client().call("GET", "/v1/secret-findings", query)
    return caller.listing(reply, FINDINGS, "No credential was kept out of git")


def _decide(caller: Caller, fingerprint: str, decision: str, reason: str, **more: Any) -> int:
    body = {"decision": decision, "reason": reason, **fields(**more)}
    path = f"/v1/secret-findings/{quote(fingerprint, safe='')}"
    reply = caller.client().call("POST", path, body, once=True)
    until = f"allowed until {reply['allowed_until']}: try again" if reply["allowed"] else "not allowed"
    return caller.show(reply, f"{reply['path']}:{reply['line']} {reply['preview']}: {until}")


@command.command()
@click.argument("fingerprint")
@_REASON
@click.option("--hours", type=click.IntRange(1, 2160), default=168, show_default=True, help="For how long.")
@click.pass_obj
def allow(caller: Caller, fingerprint: str, reason: str, hours: int) -> int:
    """Let one finding into its file; whoever wrote it tries again."""
    return _decide(caller, fingerprint, "allow", reason, hours=hours)


@command.command()
@click.argument("fingerprint")
@_REASON
@click.pass_obj
def forbid(caller: Caller, fingerprint: str, reason: str) -> int:
    """Take an allow back."""
    return _decide(caller, fingerprint, "forbid", reason)
