"""What other rooms use of secrets: sealing under the server's key or an organisation's, and finding credentials."""

from .keyring import Keyring
from .redactor import REMOVED, Redactor
from .scan import Finding, redact, redacted, scan, text_at
from .sealing import Box

__all__ = ["REMOVED", "Box", "Finding", "Keyring", "Redactor", "redact", "redacted", "scan", "text_at"]
