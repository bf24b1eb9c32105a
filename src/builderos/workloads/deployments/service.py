"""What other rooms and doors may use of deployments."""

from .actions import builtin
from .care import Care
from .origins import ORIGINS
from .rows import WORD
from .tidying import erase, tidy

__all__ = ["ORIGINS", "WORD", "Care", "builtin", "erase", "tidy"]
