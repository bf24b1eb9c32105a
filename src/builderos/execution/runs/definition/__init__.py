"""Pipeline definitions as data: pure functions, no disk, no database, no network."""

from .binding import bind
from .cron import next_after
from .deciding import Decision, decide, fill, wanted
from .expanding import expand
from .expressions import Result
from .matching import any_fits, fits
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
    "any_fits",
    "bind",
    "decide",
    "error_of",
    "expand",
    "fill",
    "fits",
    "next_after",
    "node_of",
    "parse",
    "read",
    "refused",
    "wanted",
]
