"""The words of lineage."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from builderos.core.schema import In, Line, Out

Kind = Literal[
    "app",
    "artifact",
    "code",
    "dataset",
    "deployment",
    "endpoint",
    "experiment_run",
    "model",
    "run",
    "session",
]
Relation = Literal["input_of", "made", "registered_as", "served_by", "used_by"]
Direction = Literal["up", "down", "both"]


@dataclass(frozen=True, slots=True)
class Node:
    """Something that was made, or from which something was made.

    `id`: its id in its own room; of code, the sha of the commit. `name`: what people call it, e.g. `iris@3`.
    """

    kind: Kind
    id: str
    name: str


class LineageIn(In):
    """Where to begin, and which way to look."""

    id: Line
    direction: Annotated[
        Direction, Field(description="up: from what it was made; down: what was made from it.")
    ] = "both"
    depth: Annotated[int, Field(ge=1, le=50, description="Edges from the beginning, at most.")] = 20


class LineageNode(Out):
    """A node. `depth`: how many edges it lies away; below 0 it was there before, above 0 it was made later."""

    id: str
    kind: Kind
    name: str
    depth: int
    href: Annotated[str | None, Field(description="Where the API tells more of it; of a run, its receipt.")]


class LineageEdge(Out):
    """`target` was made from, or with the help of, `source`."""

    source: str
    target: str
    relation: Relation
    created_by: str
    created_at: datetime


class LineageGraph(Out):
    """All that leads to a thing, and all that came of it. `truncated`: there is more than is shown."""

    id: str
    nodes: list[LineageNode]
    edges: list[LineageEdge]
    truncated: bool
