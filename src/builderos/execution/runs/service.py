"""What other rooms and doors may use of runs."""

from . import leaving, local_files
from .actions import builtin
from .callers import Callers
from .control import on_verdict
from .course import INTERRUPT, WAKE
from .effects import Handlers as EffectHandlers
from .events_follow import Followers
from .gates import ACTION as APPROVE
from .gates import builtin as builtin_gates
from .keepsakes import facts_of
from .local_files import LocalFiles
from .logs_follow import Tails
from .origins import ORIGINS
from .reading import listed, show
from .replay import Variants
from .replay import builtin as builtin_variants
from .rows import NODE, QUEUE, UNDO
from .starting import begin, start
from .stepping import elsewhere, node
from .triggers_firing import look as fire_triggers
from .undoing import undo
from .watching import Watch

__all__ = [
    "APPROVE", "INTERRUPT", "NODE", "ORIGINS", "QUEUE", "UNDO", "WAKE", "Callers", "EffectHandlers", "Followers",
    "LocalFiles", "Tails", "Variants", "Watch", "begin", "builtin", "builtin_gates", "builtin_variants", "elsewhere",
    "facts_of", "fire_triggers", "leaving", "listed", "local_files", "node", "on_verdict", "show", "start", "undo",
]  # fmt: skip
