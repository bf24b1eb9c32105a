"""What other rooms may use of the evals."""

from .judging import scores, verdicts
from .reading import parse
from .results import junit, markdown
from .running import Runner, cells_of
from .steps import builtin, builtin_gates

__all__ = [
    "Runner",
    "builtin",
    "builtin_gates",
    "cells_of",
    "junit",
    "markdown",
    "parse",
    "scores",
    "verdicts",
]
