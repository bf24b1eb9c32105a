"""Pipeline definitions as data: pure functions, no disk, no database, no network."""

from .schema import Approval, Definition, Gate, Node, Question, Retries, Step, node_of
from .service import expand, parse

__all__ = [
    "Approval",
    "Definition",
    "Gate",
    "Node",
    "Question",
    "Retries",
    "Step",
    "expand",
    "node_of",
    "parse",
]
