"""What other rooms and the doors use of the organisations' room: members, invites, tokens, keys, sessions."""

from . import (
    clients,
    closing,
    devices,
    granting,
    grants,
    invites,
    keys,
    me,
    members,
    opening,
    organisations,
    places,
    providers,
    redirects,
    sessions,
    signing_in,
    tokens,
)

__all__ = [
    "clients", "closing", "devices", "granting", "grants", "invites", "keys", "me", "members", "opening",
    "organisations", "places", "providers", "redirects", "sessions", "signing_in", "tokens",
]  # fmt: skip
