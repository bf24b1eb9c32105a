"""Where a program may be sent back to: addresses that are compared character by character, so that nobody reads them
otherwise than we do (RFC 9700 §2.1, RFC 8252 §7.3, RFC 6749 §3.1.2).
"""

import re
from typing import Final
from urllib.parse import urlsplit

from builderos.core.problems import Problem

MAX_LENGTH: Final = 500
MAX_COUNT: Final = 10
_LOOPBACK: Final = r"127\.0\.0\.1|\[::1\]|localhost"
_NAME: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PORT: Final = r"(?::[1-9][0-9]{0,4})?"
# Nothing that two readers take for different hosts: no userinfo, no fragment, no backslash, no escape or letter beyond
# ASCII in the host, no second slash of another path.
_REST: Final = r"(?:/[A-Za-z0-9\-._~!$&'()+,;=:@%/]*)?(?:\?[A-Za-z0-9\-._~!$&'()+,;=:@%/?]*)?"
_SECURE: Final = re.compile(rf"https://(?:{_NAME}\.)+{_NAME}{_PORT}{_REST}")
_NATIVE: Final = re.compile(rf"(http://(?:{_LOOPBACK})){_PORT}({_REST})")


def check(uri: str) -> str:
    """The address itself; raises `validation_failed` for one that may not be registered."""
    if len(uri) <= MAX_LENGTH and (_SECURE.fullmatch(uri) or _NATIVE.fullmatch(uri)) and _port_fits(uri):
        return uri
    raise Problem(
        "validation_failed",
        "a redirect address is https with a host name in lower case, or http on 127.0.0.1, [::1] or localhost",
        hint="No user name, no fragment, no escaped or foreign letters in the host.",
    )


def fits(uri: str, registered: tuple[str, ...]) -> bool:
    """Whether an address is one of those: exactly, or on this machine with another port (RFC 8252 §7.3)."""
    if uri in registered:
        return True
    wanted = _native(uri)
    return wanted is not None and any(_native(known) == wanted for known in registered)


def origin(uri: str) -> str:
    """Scheme, host and port of a checked address."""
    at = urlsplit(uri)
    return f"{at.scheme}://{at.netloc}"


def _native(uri: str) -> tuple[str, str] | None:
    found = _NATIVE.fullmatch(uri) if len(uri) <= MAX_LENGTH else None
    return (found[1], found[2]) if found is not None and _port_fits(uri) else None


def _port_fits(uri: str) -> bool:
    try:
        return urlsplit(uri).port != 0
    except ValueError:  # beyond 65535
        return False
