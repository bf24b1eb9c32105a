"""Sign heads and checkpoints of the ledger with our Ed25519 key: a copy can be checked against what was said."""

import base64
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from builderos.core import notes
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


@dataclass(frozen=True)
class Envelope:
    """A DSSE envelope with one signature; payload and signature in base64."""

    payload_type: str
    payload: str
    key_id: str
    signature: str


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def head_text(org_id: str, seq: int, hash_: str, at: str) -> bytes:
    """What is signed."""
    return f"{org_id}\n{seq}\n{hash_}\n{at}\n".encode()


class Signer:
    """Holds the signing key, derived from the server's secret: nothing further has to be kept safe."""

    def __init__(self, keys: ServerKeys) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(keys.derive("ledger heads"))

    @property
    def public_bytes(self) -> bytes:
        """The 32 raw bytes of the public key."""
        return self._key.public_key().public_bytes_raw()

    @property
    def public_key(self) -> str:
        """Base64 of the 32 raw bytes."""
        return base64.b64encode(self.public_bytes).decode()

    def sign_head(self, org_id: str, seq: int, hash_: str, at: str) -> SignedHead:
        """The head with its signature (base64)."""
        signature = self._key.sign(head_text(org_id, seq, hash_, at))
        return SignedHead(org_id, seq, hash_, at, self.public_key, base64.b64encode(signature).decode())

    def sign(self, message: bytes) -> bytes:
        """An Ed25519 signature, 64 bytes. Every kind of message begins in a way that no other kind does."""
        return self._key.sign(message)

    def sign_text(self, message: bytes) -> str:
        """The same in base64."""
        return _text(self.sign(message))

    @property
    def key_id(self) -> str:
        """Name of the key in envelopes: SHA-256 of the public key, hexadecimal."""
        return hashlib.sha256(self.public_bytes).hexdigest()

    def envelope(self, payload_type: str, payload: bytes) -> Envelope:
        """A DSSE envelope (v1) around the payload: the signature covers its type, too."""
        kind = payload_type.encode()
        signature = self.sign(b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload))
        return Envelope(payload_type, _text(payload), self.key_id, _text(signature))

    def sign_checkpoint(self, org_id: str, size: int, root: bytes) -> str:
        """The signed note of a ledger's first `size` lines. The same lines give the same note."""
        origin = notes.origin_of(org_id)
        text = notes.checkpoint_text(origin, size, root)
        return notes.signed(text, origin, self.public_bytes, self.sign(text.encode()))

    def has_signed(self, org_id: str, note: notes.Note) -> bool:
        """Whether a note is one of this server's about this organisation."""
        origin = notes.origin_of(org_id)
        if note.origin != origin or note.key_id != notes.key_id(origin, self.public_bytes):
            return False
        try:
            self._key.public_key().verify(note.signature, note.text)
        except InvalidSignature:
            return False
        return True
