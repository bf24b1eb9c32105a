"""What other rooms and doors may use of apps."""

from . import kinds, tokens
from .instance import Instance
from .keeping import Keeper
from .pace import Pace
from .rows import WORD
from .tidying import erase, tidy

__all__ = ["WORD", "Instance", "Keeper", "Pace", "erase", "kinds", "tidy", "tokens"]
