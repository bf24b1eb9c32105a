"""What other rooms and the doors use of the organisations' room: members, invites, tokens, keys, sessions."""

from . import invites, keys, members, organisations, sessions, signing_in, tokens

__all__ = ["invites", "keys", "members", "organisations", "sessions", "signing_in", "tokens"]
