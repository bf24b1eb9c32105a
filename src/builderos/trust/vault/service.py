"""What other rooms use of the vault."""

from . import findings
from .protection import CredentialFound, Suspect, refuse, suspects, unallowed

__all__ = ["CredentialFound", "Suspect", "findings", "refuse", "suspects", "unallowed"]
