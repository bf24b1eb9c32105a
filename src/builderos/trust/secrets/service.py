"""What other rooms use of secrets: sealing under the server's key or an organisation's, and finding credentials."""

from .keyring import Keyring
from .likely import is_hard_to_guess
from .redactor import REMOVED, Redactor
from .scan import MAX_FINDINGS, Finding, as_utf8, redact, redacted, scan, text_at, values_in
from .sealing import Box
from .streaming import Cleaner

__all__ = [
    "MAX_FINDINGS",
    "REMOVED",
    "Box",
    "Cleaner",
    "Finding",
    "Keyring",
    "Redactor",
    "as_utf8",
    "is_hard_to_guess",
    "redact",
    "redacted",
    "scan",
    "text_at",
    "values_in",
]
