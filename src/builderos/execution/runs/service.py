"""What other rooms and doors may use of runs."""

from . import events, hooks, leaving, leftovers, local_files, questions, workspace
from .actions import builtin
from .callers import Callers
from .control import cancel, on_verdict
from .course import INTERRUPT, WAKE
from .definition import Definition, Gate, Matrix, Retries, Step, parse
from .definition.matching import any_fits, fits
from .effects import Effect, Found
from .effects import Handler as EffectHandler
from .effects import Handlers as EffectHandlers
from .effects import action as effect_action
from .events_follow import Followers
from .gates import ACTION as APPROVE
from .gates import builtin as builtin_gates
from .keepsakes import facts_of
from .keys import FIXED, Ingredients, canonical, definition_of, digest, ingredients_of
from .listing import listed
from .local_files import LocalFiles
from .logs import Sink
from .logs_find import Attempt, ref_of
from .logs_follow import Tails
from .logs_follow import frames as log_frames
from .origins import ORIGINS
from .reading import require, show, subject
from .records import Material
from .replay import Variants
from .replay import builtin as builtin_variants
from .rows import NODE, QUEUE, UNDO, actor_json, actor_of
from .seen import line_of, seen_run, seen_step
from .starting import begin, start
from .stepping import elsewhere, node
from .taskchecks import look as check_tasks
from .tidying import tidy
from .triggers_firing import look as fire_triggers
from .undoing import undo
from .view_diff import compared
from .watching import Watch

__all__ = [
    "APPROVE", "FIXED", "INTERRUPT", "NODE", "ORIGINS", "QUEUE", "UNDO", "WAKE", "Attempt", "Callers",
    "Definition", "Effect", "EffectHandler", "EffectHandlers", "Followers", "Found", "Gate", "Ingredients",
    "LocalFiles", "Material", "Matrix", "Retries", "Sink", "Step", "Tails", "Variants", "Watch", "actor_json",
    "actor_of", "any_fits", "begin", "builtin", "builtin_gates", "builtin_variants", "cancel", "canonical",
    "check_tasks", "compared", "definition_of",
    "digest",
    "effect_action", "elsewhere", "events", "facts_of", "fire_triggers", "fits", "hooks", "ingredients_of",
    "leaving", "leftovers", "line_of", "listed", "local_files", "log_frames", "node", "on_verdict", "parse",
    "questions", "ref_of",
    "require", "seen_run", "seen_step", "show", "start", "subject", "tidy", "undo", "workspace",
]  # fmt: skip
