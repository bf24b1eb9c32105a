"""What other rooms may use of the evals."""

from .judging import scores, verdicts
from .reading import parse
from .results import junit, markdown
from .running import Runner, cells_of
from .steps import builtin, builtin_gates
from .verbs import of_run

__all__ = [
    "Runner",
    "builtin",
    "builtin_gates",
    "cells_of",
    "junit",
    "markdown",
    "of_run",
    "parse",
    "scores",
    "verdicts",
]
