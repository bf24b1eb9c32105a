"""What other rooms use of the vault."""

from . import findings
from .known import Known, clean, clean_text
from .protection import CredentialFound, Suspect, refuse, suspects, unallowed
from .releasing import REFERENCE, release, resolve
from .rewrapping import rewrap

__all__ = [
    "REFERENCE",
    "CredentialFound",
    "Known",
    "Suspect",
    "clean",
    "clean_text",
    "findings",
    "refuse",
    "release",
    "resolve",
    "rewrap",
    "suspects",
    "unallowed",
]
