"""Pipeline definitions as data: pure functions, no disk, no database, no network."""

from .binding import bind
from .deciding import Decision, decide, fill, wanted
from .expanding import expand
from .expressions import Result
from .schema import Approval, Definition, Gate, Node, Parameter, Question, Retries, Step, Trigger, node_of
from .service import error_of, parse, read, refused

__all__ = [
    "Approval",
    "Decision",
    "Definition",
    "Gate",
    "Node",
    "Parameter",
    "Question",
    "Result",
    "Retries",
    "Step",
    "Trigger",
    "bind",
    "decide",
    "error_of",
    "expand",
    "fill",
    "node_of",
    "parse",
    "read",
    "refused",
    "wanted",
]
