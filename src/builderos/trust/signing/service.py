"""Sign heads of the ledger with the server's Ed25519 key, so that a copy can be checked against what was published."""

import base64
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from builderos.core.keys import ServerKeys


@dataclass(frozen=True)
class SignedHead:
    """A ledger's newest line at one moment. The signature covers `<org>\\n<seq>\\n<hash>\\n<at>\\n` in UTF-8."""

    org_id: str
    seq: int
    hash: str
    at: str
    public_key: str
    signature: str


def head_text(org_id: str, seq: int, hash_: str, at: str) -> bytes:
    """What is signed."""
    return f"{org_id}\n{seq}\n{hash_}\n{at}\n".encode()


class Signer:
    """Holds the signing key, derived from the server's secret: nothing further has to be kept safe."""

    def __init__(self, keys: ServerKeys) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(keys.derive("ledger heads"))

    @property
    def public_key(self) -> str:
        """Base64 of the 32 raw bytes."""
        return base64.b64encode(self._key.public_key().public_bytes_raw()).decode()

    def sign_head(self, org_id: str, seq: int, hash_: str, at: str) -> SignedHead:
        """The head with its signature (base64)."""
        signature = self._key.sign(head_text(org_id, seq, hash_, at))
        return SignedHead(org_id, seq, hash_, at, self.public_key, base64.b64encode(signature).decode())
