"""What whoever serves something from a jail may use."""

from . import badges
from .badges import Badge, Calls, Endpoints, Holder
from .lines import Lines, Reply, Silent
from .passes import Kind, Pass, Passes
from .relay import SILENT, Inside, Passing, TooLarge
from .site import Files

__all__ = [
    "SILENT",
    "Badge",
    "Calls",
    "Endpoints",
    "Files",
    "Holder",
    "Inside",
    "Kind",
    "Lines",
    "Pass",
    "Passes",
    "Passing",
    "Reply",
    "Silent",
    "TooLarge",
    "badges",
]
