"""What other rooms may use of the memory."""

from . import files, keeping, places, rebuilding, recalling, tidying, vectors
from .files import Files
from .keeping import Note, remember
from .manage import manage
from .places import Scope
from .query import query
from .recalling import Recalled, quoted, recall

__all__ = [
    "Files",
    "Note",
    "Recalled",
    "Scope",
    "files",
    "keeping",
    "manage",
    "places",
    "query",
    "quoted",
    "rebuilding",
    "recall",
    "recalling",
    "remember",
    "tidying",
    "vectors",
]
