"""What other rooms and doors may use of runs."""

from . import local_files
from .actions import builtin
from .control import on_verdict
from .course import INTERRUPT, WAKE
from .events_follow import Followers
from .gates import ACTION as APPROVE
from .gates import builtin as builtin_gates
from .keepsakes import facts_of
from .local_files import LocalFiles
from .logs_follow import Tails
from .reading import listed, show
from .rows import NODE, QUEUE, UNDO
from .starting import begin, start
from .stepping import Callers, elsewhere, node
from .undoing import undo
from .watching import Watch

__all__ = [
    "APPROVE", "INTERRUPT", "NODE", "QUEUE", "UNDO", "WAKE", "Callers", "Followers", "LocalFiles", "Tails", "Watch", "begin",
    "builtin", "builtin_gates", "elsewhere", "facts_of", "listed", "local_files", "node", "on_verdict", "show", "start", "undo",
]  # fmt: skip
