"""Signatures of webhooks as the Standard Webhooks specification has them (https://www.standardwebhooks.com).

HMAC-SHA-256 over `id.timestamp.body`; while a secret is rotated there is one signature of each.
"""

import base64
import hmac
import secrets as random
from collections.abc import Iterable
from typing import Final

SECRET: Final = "whsec_"
WINDOW_S: Final = 300  # how old, or how far ahead, a signed request may be
_MOST: Final = 10  # signatures of one request that are looked at


def new_secret() -> str:
    """A fresh secret of 32 random bytes: `whsec_<base64>`."""
    return SECRET + base64.b64encode(random.token_bytes(32)).decode()


def sign(secrets: Iterable[str], id_: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`: one `v1,<base64>` for each secret."""
    said = f"{id_}.{timestamp}.".encode() + body
    keys = (base64.b64decode(secret.removeprefix(SECRET)) for secret in secrets)
    return " ".join("v1," + base64.b64encode(hmac.digest(key, said, "sha256")).decode() for key in keys)


def fits(secrets: Iterable[str], id_: str, timestamp: int, body: bytes, given: str) -> bool:
    """Whether one of the signatures in `given` is of one of the secrets; all are compared, each in constant time."""
    wanted = sign(secrets, id_, timestamp, body).split(" ")
    sent = given.split(" ")[:_MOST]
    right = [hmac.compare_digest(one.encode(), other.encode()) for one in wanted for other in sent]
    return any(right)
