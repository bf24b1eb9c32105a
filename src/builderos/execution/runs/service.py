"""What other rooms and doors may use of runs."""

from .actions import builtin
from .course import INTERRUPT, WAKE
from .events_follow import Followers
from .keepsakes import facts_of
from .logs_follow import Tails
from .reading import listed, show
from .rows import NODE, QUEUE
from .starting import begin, start
from .stepping import Callers, node
from .watching import Watch

__all__ = [
    "INTERRUPT", "NODE", "QUEUE", "WAKE", "Callers", "Followers", "Tails", "Watch", "begin", "builtin",
    "facts_of", "listed", "node", "show", "start",
]  # fmt: skip
