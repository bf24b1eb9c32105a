"""What doors and other rooms may use of experiments."""

from . import asking, carrying, files, grammar, keeping, logged, reach, runs, traces
from .logging import Point, log
from .telling import Facts, artifacts_of, facts_of

__all__ = [
    "Facts", "Point", "artifacts_of", "asking", "carrying", "facts_of", "files", "grammar", "keeping", "log", "logged",
    "reach", "runs", "traces",
]  # fmt: skip
