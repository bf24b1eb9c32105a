"""The server's own secret, and keys derived from it for one purpose each."""

import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class ServerKeys:
    """Holds the secret key; `derive` gives a 32-byte key that serves one purpose only."""

    secret: bytes = field(repr=False)

    def derive(self, purpose: str) -> bytes:
        """HMAC-SHA-256 of the purpose: knowing one derived key tells nothing of another."""
        return hmac.digest(self.secret, b"builderos:" + purpose.encode(), "sha256")


def load_keys(home: Path, configured: str | None) -> ServerKeys:
    """The configured secret, or the one kept in the home (made at the first start, mode 0600)."""
    if configured:
        return ServerKeys(configured.encode())
    path = home / "secret.key"
    if not path.exists():
        draft = home / f".secret.{os.getpid()}"
        draft.touch(0o600)
        draft.write_text(secrets.token_urlsafe(48))
        try:
            os.link(draft, path)  # two starts race: the first one wins and both read the same key
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return ServerKeys(path.read_text().encode())
