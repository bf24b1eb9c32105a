"""What doors and other rooms may use of experiments."""

from . import asking, assessments, carrying, files, grammar, keeping, logged, reach, runs, spans, traces
from .logging import Point, log
from .telling import Facts, artifacts_of, facts_of

__all__ = [
    "Facts", "Point", "artifacts_of", "asking", "assessments", "carrying", "facts_of", "files", "grammar", "keeping",
    "log", "logged", "reach", "runs", "spans", "traces",
]  # fmt: skip
