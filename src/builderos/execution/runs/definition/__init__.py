"""Pipeline definitions as data: pure functions, no disk, no database, no network."""

from .binding import bind
from .cron import next_after
from .deciding import Decision, decide, fill, wanted
from .expanding import expand
from .expressions import Result
from .matching import any_fits, fits
from .schema import (
    PAYLOAD,
    Approval,
    Definition,
    Gate,
    Matrix,
    Node,
    Parameter,
    Question,
    Retries,
    Step,
    Trigger,
    node_of,
)
from .service import parse, read

__all__ = [
    "PAYLOAD",
    "Approval",
    "Decision",
    "Definition",
    "Gate",
    "Matrix",
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
    "expand",
    "fill",
    "fits",
    "next_after",
    "node_of",
    "parse",
    "read",
    "wanted",
]
