"""The action `choose`: several steps have made a proposal, and an agent says which one goes on.

The proposals are shown as differences to what the run started from. Those that were not chosen are kept under their
names in the step's result, and are not applied.
"""

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from builderos.assets.repositories import service as repositories
from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.steps import Done, Work
from builderos.engine.durable import Durable
from builderos.execution.runs import service as runs

from .series import Series, known_of, waits
from .steps import logged

ACTION: Final = "choose"
_OWN: Final = frozenset({"by"})
_SHOWN: Final = 60_000  # characters of all proposals together


async def run_choose(context: Context, work: Work) -> Done:
    """Have the agent choose; the tree of its choice is the step's output. Raises `validation_failed`."""
    names = [name for name in work.node.needs if name in work.trees]
    if len(names) < 2:
        raise Problem(
            "validation_failed", f"there are {len(names)} proposals to choose from",
            hint="Let the step need two or more steps that make one.",
        )  # fmt: skip
    blocking = context.get(Durable).unit
    shown = await blocking(functools.partial(_proposals, context, work, names))
    known = await blocking(functools.partial(known_of, context, work))
    inputs = {name: value for name, value in work.node.inputs.items() if name not in _OWN}
    node = replace(work.node, agent=str(work.node.inputs.get("by", "reviewer")), inputs=inputs, gates=())
    asked = replace(work, node=node, needs={**work.needs, **shown})
    async with logged(context, work) as say:
        series = Series(context, work, known, say)
        while True:
            done = _chosen(work, names, await series.next(asked, _answer(names)))
            if waits(done) or done.status == "succeeded" or not series.is_stale:
                return series.whole(done)


def _answer(names: list[str]) -> dict[str, Any]:
    """The schema of the answer."""
    return {
        "type": "object", "required": ["choice", "reasons"], "additionalProperties": False,
        "properties": {
            "choice": {"enum": names, "description": "The name of the proposal that goes on."},
            "reasons": {"type": "string", "maxLength": 4_000, "description": "Why this one and not the others."},
        },
    }  # fmt: skip


def _chosen(work: Work, names: list[str], done: Done) -> Done:
    if waits(done) or done.status != "succeeded":
        return done
    choice = done.result.get("choice")
    if choice not in names:
        error = f"{choice!r} is none of the proposals: {', '.join(names)}"
        return replace(done, status="failed", reason="gate", error=error)
    proposals = {name: work.trees[name] for name in names}
    return replace(done, output_tree=work.trees[choice], result={**done.result, "proposals": proposals})


def _proposals(context: Context, work: Work, names: list[str]) -> Mapping[str, Any]:
    """Each proposal as what it changes; what its step said stands before it. Blocks."""
    below = runs.workspace.below(context, work)
    scratch = runs.workspace.scratch_of(context, work, below)
    base = work.base_tree or repositories.EMPTY_TREE.hex()
    shown: dict[str, Any] = {}
    for name in names:
        said = str(work.needs.get(name, {}).get("text", ""))
        text = runs.compared(scratch, base, work.trees[name]).text[: _SHOWN // len(names)]
        shown[name] = {"text": f"{said}\n\nProposal {name}, as a difference:\n{text}".strip()}
    return shown
