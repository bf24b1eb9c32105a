"""What a step may know of the others: whether it is to run, and the texts that quote their results."""

import json
from collections.abc import Iterable
from typing import Any, Final, cast

import sqlalchemy as sa

from builderos.core.unit import Unit

from . import saying
from .definition import Decision, Node, Result, decide, fill
from .model import steps
from .rows import ENDED, Row

_OPEN: Final = '"${{"'


def decision(unit: Unit, run: Row, step: Row, node: Node) -> Decision:
    """`run`, or why not, once everything that a step needs has ended."""
    named = step.needs if node.when is None else None
    return decide(node, results_of(unit, run, named))


def filled(unit: Unit, run: Row, node: Node, spec: dict[str, Any]) -> Node:
    """The node with everything filled that only results of others can fill."""
    is_open = _OPEN in json.dumps(spec)
    return fill(node, results_of(unit, run) if is_open else {})


def results_of(unit: Unit, run: Row, names: Iterable[str] | None = None) -> dict[str, Result]:
    """How steps that ended came out: these, or all."""
    c = steps.c
    wanted = sa.select(c.name, c.status, c.result, c.reason, c.spec["on_fail"].astext.label("on_fail")).where(
        c.run_id == run.id, c.status.in_(sorted(ENDED))
    )
    if names is not None:
        wanted = wanted.where(c.name.in_(list(names)))
    return {row.name: _result(row) for row in unit.execute(wanted)}


def _result(row: Any) -> Result:
    reason = "needs" if row.reason == "stopped" else row.reason
    known: dict[str, Any] = row.result
    said = known.get(saying.KEY)
    outputs = cast("dict[str, Any]", said) | known if isinstance(said, dict) else known
    return Result(
        row.status, outputs, reason, row.on_fail == "continue" and row.status in ("failed", "timed_out")
    )
