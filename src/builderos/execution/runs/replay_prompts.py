"""A run with another version of a prompt: whoever was given that prompt then would be given another one now."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from builderos.assets.prompts import service as prompts
from builderos.assets.repositories import service as repositories
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.policy import service as policy

from . import records
from .definition import Node
from .keys import Ingredients
from .rows import Row

MARK: Final = "#"
"""Between the reference and the hash of a prompt, as `Node.prompt` of a replay holds them."""


def with_prompt(unit: Unit, run: Row, nodes: list[Node], name: str, value: str) -> list[Node]:
    """The nodes with another version of one prompt; without a name, of the only one that the run used.

    Raises `validation_failed` where the run used no such prompt, `not_found` where there is no such version.
    """
    policy.require(unit, "prompt.read", policy.org_resource(unit))
    used = {node.id: found for node in nodes if node.agent and (found := _used(unit, run, node))}
    name = name or _only(sorted(set(used.values())))
    if name not in used.values():
        raise _refused(f"no step of this run was given the prompt {name[:80]!r}", sorted(set(used.values())))
    branch = repositories.branch_by_id(unit, run.branch_id) if run.branch_id else None
    version = prompts.resolve(unit, f"{name}@{value}", branch=branch)
    ref = f"{version.spec.ref}{MARK}{version.sha256}"
    return [replace(node, prompt=ref) if used.get(node.id) == name else node for node in nodes]


def as_asked(then: Ingredients, node: Node) -> Ingredients:
    """The ingredients of an agent's answer with the prompt of a node."""
    ref, _, sha256 = (node.prompt or "").partition(MARK)
    if not sha256:
        return then
    return replace(then, prompt=sha256, definition={**then.definition, "prompt": ref})


def _used(unit: Unit, run: Row, node: Node) -> str | None:
    """The name of the prompt that the agent of a step was given; None where no record tells."""
    record = records.of_step(unit, run.id, node.id)
    ref = str(record.ingredients.definition.get("prompt", "")) if record is not None else ""
    return ref.partition("@")[0] or None


def _only(names: Sequence[str]) -> str:
    if len(names) != 1:
        raise _refused("this run used no prompt" if not names else "this run used several prompts", names)
    return names[0]


def _refused(detail: str, names: Sequence[str]) -> Problem:
    known = f"Used were: {', '.join(names)}." if names else "Its steps have no agents, or no records."
    return Problem("validation_failed", detail, hint=f"Say NAME@VERSION. {known}", allowed=list(names))
