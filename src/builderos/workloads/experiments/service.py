"""What doors and other rooms may use of experiments."""

from . import asking, files, keeping, logged, reach, runs
from .logging import Point, log

__all__ = ["Point", "asking", "files", "keeping", "log", "logged", "reach", "runs"]
