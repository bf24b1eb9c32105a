"""Seal small values with AES-256-GCM; the purpose is authenticated, so a value cannot be moved elsewhere."""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from builderos.core.keys import ServerKeys


class Box:
    """Seals and opens values for one server."""

    def __init__(self, keys: ServerKeys) -> None:
        self._aead = AESGCM(keys.derive("seal"))

    def seal(self, plain: bytes, purpose: str) -> bytes:
        """12 bytes of nonce, then the ciphertext with its tag."""
        nonce = os.urandom(12)
        return nonce + self._aead.encrypt(nonce, plain, purpose.encode())

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """The plain bytes; raises `ValueError` when they were altered or sealed for another purpose."""
        try:
            return self._aead.decrypt(sealed[:12], sealed[12:], purpose.encode())
        except InvalidTag:
            raise ValueError("the sealed value was altered or belongs elsewhere") from None
