"""What other rooms and doors may use of endpoints."""

from . import batching
from .calling import Chosen, Counts, admit, callable_by
from .keeping import WORD, Keeper, erase
from .shadowing import same

__all__ = ["WORD", "Chosen", "Counts", "Keeper", "admit", "batching", "callable_by", "erase", "same"]
