"""What other rooms and doors may use of deployments."""

from .actions import builtin
from .care import Care
from .origins import ORIGINS
from .rows import WORD, subject
from .tidying import erase, tidy

__all__ = ["ORIGINS", "WORD", "Care", "builtin", "erase", "subject", "tidy"]
