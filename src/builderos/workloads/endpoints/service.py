"""What other rooms and doors may use of endpoints."""

from . import batching
from .calling import admit, callable_by
from .choosing import Chosen, Counts
from .keeping import WORD, Keeper, erase
from .shadowing import same
from .standing import Standing, admit_again, stands

__all__ = [
    "WORD",
    "Chosen",
    "Counts",
    "Keeper",
    "Standing",
    "admit",
    "admit_again",
    "batching",
    "callable_by",
    "erase",
    "same",
    "stands",
]
