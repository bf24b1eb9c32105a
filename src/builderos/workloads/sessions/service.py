"""What other rooms and doors may use of sessions."""

from . import tokens
from .keeping import Keeper
from .life import Pace
from .rows import WORD, subject
from .tidying import erase, tidy

__all__ = ["WORD", "Keeper", "Pace", "erase", "subject", "tidy", "tokens"]
