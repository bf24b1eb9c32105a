"""Who a git client is: the credentials, rates and abuse counters of the HTTP door, carried by Basic or Bearer."""

import base64
import binascii
from dataclasses import replace

from starlette.requests import Request

from builderos.core.application import Application
from builderos.core.unit import Call
from builderos.interfaces.http.serve import Incoming, admit


def call_of(app: Application, request: Request, tool: str) -> Call:
    """The call that this request makes; blocks.

    Raises `unauthenticated`, `token_invalid`, `token_expired`, `rate_limited`.
    """
    incoming: Incoming = request.state.incoming
    secret = incoming.bearer or _from_basic(request.headers.get("authorization", ""))
    return admit(app, replace(incoming, bearer=secret, door="git"), tool)


def _from_basic(header: str) -> str | None:
    """The password of a Basic header. The user name says nothing; a token alone may stand in its place."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return "malformed"  # a credential was sent, and it is none: counted like any other wrong one
    return password or user or None
