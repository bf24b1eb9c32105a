"""What other rooms may use of lineage: `record` an edge; `graph` walks them."""

from collections.abc import Iterable
from typing import Any, Final, Literal, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.policy import service as policy

from . import telling
from .model import edges
from .schema import Kind, LineageEdge, LineageGraph, LineageIn, LineageNode, Node, Relation

__all__ = ["Node", "graph", "known", "record", "telling"]

MOST: Final = 500  # nodes of one graph
_HREF: Final[dict[Kind, str]] = {
    "app": "/v1/apps/{}", "artifact": "/v1/artifacts/{}", "dataset": "/v1/datasets/{}",
    "deployment": "/v1/deployments/{}", "endpoint": "/v1/endpoints/{}", "run": "/v1/runs/{}/receipt",
    "session": "/v1/sessions/{}",
}  # fmt: skip
Row: TypeAlias = sa.Row[Any]


def record(
    unit: Unit, source: Node, target: Node, relation: Relation, *, sandbox_id: str | None = None
) -> None:
    """Say that `target` was made from, or with the help of, `source`. Said already is no fault.

    It is part of the act that the caller asked the policy about and writes into the ledger. `sandbox_id`: the
    workspace in which it was made, where that is not the actor's own (the server ends a run). Raises
    `validation_failed` where both are one and the same.
    """
    if source.id == target.id:
        raise Problem("validation_failed", "nothing is made from itself", hint="Name two different things.")
    values = {
        "org_id": unit.org_id, "relation": relation, "sandbox_id": sandbox_id or unit.actor.sandbox_id,
        "source_kind": source.kind, "source_id": source.id, "source_name": source.name,
        "target_kind": target.kind, "target_id": target.id, "target_name": target.name,
        "created_by": unit.actor.id, "created_at": unit.now,
    }  # fmt: skip
    unit.execute(insert(edges).values(**values).on_conflict_do_nothing())


def graph(unit: Unit, body: LineageIn) -> LineageGraph:
    """All that leads to a thing, and all that came of it, nearest first. Raises `not_found` where nothing is known.

    A circle (a run that reads what it wrote) is walked once.
    """
    policy.require(unit, "lineage.read", policy.org_resource(unit))
    walk = _Walk(unit, body)
    if body.direction != "down":
        walk.go("up")
    if body.direction != "up":
        walk.go("down")
    if not walk.edges:
        walk.alone()
    nodes = sorted(walk.nodes.values(), key=lambda node: (node.depth, node.kind, node.id))
    return LineageGraph(
        id=body.id, nodes=nodes, edges=[*walk.edges.values()], truncated=walk.truncated
    )  # fmt: skip


def known(unit: Unit, body: LineageIn) -> list[LineageNode]:
    """The nodes of a graph for another room, which has asked the policy itself; none where nothing is known."""
    walk = _Walk(unit, body)
    for way in ("up", "down"):
        if body.direction in (way, "both"):
            walk.go(way)
    return sorted(walk.nodes.values(), key=lambda node: (abs(node.depth), node.kind, node.id))


class _Walk:
    """One question: what was found so far."""

    def __init__(self, unit: Unit, body: LineageIn) -> None:
        self._unit = unit
        self._body = body
        self.nodes: dict[str, LineageNode] = {}
        self.edges: dict[tuple[str, str, str], LineageEdge] = {}
        self.truncated = False

    def go(self, way: Literal["up", "down"]) -> None:
        """From the beginning one way, level by level."""
        here, seen = {self._body.id}, {self._body.id}
        for level in range(1, self._body.depth + 1):
            rows = self._touching(way, here)
            far = {row.source_id if way == "up" else row.target_id for row in rows}
            for row in rows:
                self._take(row, level - 1 if way == "down" else -level)
            here = far - seen
            seen |= far
            if not here:
                return
            if self.truncated:
                return
        self.truncated = self.truncated or bool(self._touching(way, here))

    def alone(self) -> None:
        """The thing itself, where nothing lies in the direction that was asked for. Raises `not_found`."""
        c = edges.c
        either = sa.or_(c.source_id == self._body.id, c.target_id == self._body.id)
        row = self._unit.execute(self._seen().where(either).limit(1)).one_or_none()
        if row is None:
            raise Problem(
                "not_found",
                "nothing is known of such a thing",
                hint="Lineage knows what runs, datasets and models touched.",
            )
        mine = (row.source_kind, row.source_id, row.source_name)
        other = (row.target_kind, row.target_id, row.target_name)
        self._node(mine if row.source_id == self._body.id else other, 0)

    def _touching(self, way: Literal["up", "down"], ids: Iterable[str]) -> list[Row]:
        c = edges.c
        end = c.target_id if way == "up" else c.source_id
        wanted = self._seen().where(end.in_(sorted(ids))).order_by(c.created_at, c.source_id, c.target_id)
        left = MOST * 2 - len(self.edges)
        rows = self._unit.execute(wanted.limit(left + 1)).all()
        if len(rows) > left:
            self.truncated = True
        return list(rows[:left])

    def _take(self, row: Row, depth: int) -> None:
        """An edge with its ends; `depth` is that of its source."""
        self._node((row.source_kind, row.source_id, row.source_name), depth)
        self._node((row.target_kind, row.target_id, row.target_name), depth + 1)
        if row.source_id in self.nodes and row.target_id in self.nodes:
            self.edges[row.source_id, row.target_id, row.relation] = LineageEdge(
                source=row.source_id, target=row.target_id, relation=row.relation, created_by=row.created_by,
                created_at=row.created_at,
            )  # fmt: skip

    def _node(self, said: tuple[Kind, str, str], depth: int) -> None:
        kind, id_, name = said
        if id_ in self.nodes:
            return
        if len(self.nodes) >= MOST:
            self.truncated = True
            return
        href = _HREF[kind].format(id_) if kind in _HREF else None
        self.nodes[id_] = LineageNode(
            id=id_, kind=kind, name=name, depth=0 if id_ == self._body.id else depth, href=href
        )

    def _seen(self) -> sa.Select[Any]:
        """Edges that the actor may see: the token of a workspace, those that were made in it."""
        wanted = sa.select(edges)
        own = self._unit.actor.sandbox_id
        return wanted.where(edges.c.sandbox_id == own) if own is not None else wanted
