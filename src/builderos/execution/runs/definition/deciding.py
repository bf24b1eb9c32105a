"""What the interpreter asks right before a node would start."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, TypeAlias

from .expressions import Result, evaluate, truth
from .schema import Node
from .templates import as_text, filled

Decision: TypeAlias = Literal["run", "condition", "needs"]
INPUTS = "BUILDEROS_INPUTS"


def decide(node: Node, results: Mapping[str, Result]) -> Decision:
    """Whether a node runs, once all it needs has ended; else the reason of its being skipped: its own condition, or a
    failure before it. Whoever skips it puts that word into its `Result`.
    """
    blocked = any(results[need].blocks for need in node.needs if need in results)
    runs = not blocked if node.when is None else truth(evaluate(node.when, results))
    if runs:
        return "run"
    return "needs" if blocked else "condition"


def wanted(node: Node, results: Mapping[str, Result]) -> bool:
    """Whether a node runs, once all it needs has ended."""
    return decide(node, results) == "run"


def fill(node: Node, results: Mapping[str, Result]) -> Node:
    """The node with everything filled that only results could. A command finds its inputs as JSON in the variable
    `BUILDEROS_INPUTS`.
    """
    env = {name: as_text(filled(value, results)) for name, value in node.env.items()}
    inputs = {name: filled(value, results) for name, value in node.inputs.items()}
    if node.run is not None and inputs:
        env[INPUTS] = as_text(inputs)
    gates = tuple(
        replace(gate, approval=_asked(gate.approval, results), question=_asked(gate.question, results))
        for gate in node.gates
    )
    asked = {"approval": _asked(node.approval, results), "question": _asked(node.question, results)}
    return replace(node, env=env, inputs=inputs, gates=gates, **asked)


def _asked(item: Any, results: Mapping[str, Result]) -> Any:
    return replace(item, message=as_text(filled(item.message, results))) if item is not None else None
