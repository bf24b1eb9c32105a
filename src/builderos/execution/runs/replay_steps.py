"""The action of a step in a replay: execute it once more from its record, with the network off, and compare.

Whatever it comes to, nothing is done outside: effects, people's answers, and what is not deterministic are served from
the record, and the verdict says so.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.steps import Done, Work
from builderos.core.unit import Unit, as_system, perform
from builderos.engine.durable import Durable
from builderos.execution.compute import service as compute

from . import records, workspace
from .commands import run_command
from .keys import Ingredients, changed
from .records import Damaged, Record
from .records_model import step_records
from .replay_prompts import as_asked
from .rows import GOOD, find_step

Verdict = Literal["same", "diverged", "recorded", "unchanged"]
REPLAY: Final = "replay"


@dataclass(frozen=True, slots=True)
class Told:
    """What a replay does with a step: `again` executes it, `record` serves it; `why` it is served. `agent`: it is
    served where its agent would be asked the same once more; nobody is asked anything else.

    With `vary` what its needs left is passed on as it is; without, the recorded tree, so that one step that differs
    does not hide whether the next ones do.
    """

    run_id: str
    step_id: str
    mode: Literal["again", "record", "agent"]
    why: str = ""
    vary: bool = False

    def as_json(self) -> dict[str, Any]:
        """Kept in the node."""
        return {
            "run": self.run_id,
            "step": self.step_id,
            "mode": self.mode,
            "why": self.why,
            "vary": self.vary,
        }


async def replay_step(context: Context, work: Work) -> Done:
    """Carry out one step of a replay; its verdict is in `result["replay"]`."""
    durable = context.get(Durable)
    said: Mapping[str, Any] = work.node.replay or {}
    if said["mode"] == "record":
        return await durable.unit(functools.partial(_served, context, work, said))
    found = await durable.unit(functools.partial(_record, context, work, said))
    if said["mode"] == "agent":
        return await _agent(context, work, found)
    if not said["vary"]:
        known = await durable.unit(functools.partial(_moved, context, work, found))
        return _judged(found, await run_command(context, _as_it_was(work, found)), known)
    node = replace(work.node, replay=None, network=())
    again = replace(work, node=node, action="run")
    known = await durable.unit(functools.partial(_material, context, again, found))
    if not known:
        return await durable.unit(functools.partial(_unchanged, context, work, found))
    return _judged(found, await run_command(context, again), known, passed_on=True)


async def _agent(context: Context, work: Work, found: Record) -> Done:
    """An agent's answer is the recorded one, as long as the question is."""
    then = found.ingredients
    now = as_asked(then, work.node)
    now = replace(now, tree=work.input_tree or work.base_tree or "", inputs=dict(work.node.inputs))
    known = changed(then, now)
    if not known:
        return await context.get(Durable).unit(functools.partial(_unchanged, context, work, found))
    error = f"its agent would be asked something else, and no record has the answer: {', '.join(known)}"
    verdict: dict[str, Any] = {
        "verdict": "diverged", "of": found.step_id, "why": error, "ingredients": known, "differs": known,
        "expected": _question(then), "found": _question(now), "error": error,
    }  # fmt: skip
    return Done("failed", "hash_mismatch", error, result={REPLAY: verdict}, retry=False)


def _question(made: Ingredients) -> dict[str, Any]:
    ref = made.definition.get("prompt")
    return {"key": made.key, "prompt": f"{ref}#{made.prompt}", "tree": made.tree, "artifacts": {}}


def _as_it_was(work: Work, found: Record) -> Work:
    """The attempt with exactly what the recorded one was given, but the network."""
    made = found.ingredients
    node = replace(
        work.node, replay=None, env=dict(found.environment), inputs=made.inputs, network=(),
        runtime=str(made.definition.get("runtime") or "") or None,
        profile=str(made.definition.get("profile") or "") or None,
    )  # fmt: skip
    return replace(work, node=node, action="run", input_tree=made.tree)


def _judged(found: Record, done: Done, ingredients: list[str], *, passed_on: bool = False) -> Done:
    """The outcome with its verdict. A step that comes to the recorded end has succeeded, whatever end that was."""
    kept = {output.path: output.hash for output in done.artifacts}
    was = {str(item["path"]): str(item["hash"]) for item in found.artifacts}
    expected = {
        "status": _end(found.status),
        "exit_code": found.exit_code,
        "tree": found.output_tree,
        "artifacts": was,
    }
    came = {
        "status": _end(done.status),
        "exit_code": done.exit_code,
        "tree": done.output_tree,
        "artifacts": kept,
    }
    differing = sorted(name for name in expected if expected[name] != came[name])
    verdict: dict[str, Any] = {"verdict": "diverged" if differing else "same", "of": found.step_id}
    verdict |= {"ingredients": ingredients} if ingredients else {}
    if differing:
        verdict |= {"differs": differing, "expected": expected, "found": came, "error": done.error[:500]}
    result = {**done.result, REPLAY: verdict}
    if passed_on:
        return replace(done, result=result, artifacts=(), retry=False)
    ended = replace(
        done, status="succeeded", reason=None, error="", output_tree=found.output_tree, result=result, artifacts=(),
        retry=False,
    )  # fmt: skip
    if not differing:
        return ended
    error = f"this step came to something else: {', '.join(differing)}"
    return replace(ended, status="failed", reason="hash_mismatch", error=error)


def _end(status: str) -> str:
    return "succeeded" if status in GOOD else status


# -------------------------------------------------------------------- blocking, for threads


def _record(context: Context, work: Work, said: Mapping[str, Any]) -> Record:
    def find(unit: Unit) -> Any:
        c = step_records.c
        wanted = unit.execute(
            step_records.select()
            .where(c.org_id == unit.org_id, c.step_id == said["step"])
            .order_by(c.attempt.desc())
        )
        return wanted.first()

    row = perform(context, work.call, find, read_only=True)
    try:
        if row is None:
            raise Damaged("there is none")
        return records.read(row)
    except Damaged as damaged:
        raise Problem(
            "hash_mismatch", f"the record of {work.name} cannot be used: {damaged}",
            hint="It is not what was written. Run the pipeline again.",
        ) from None  # fmt: skip


def _served(context: Context, work: Work, said: Mapping[str, Any]) -> Done:
    """What the step came to then. Its tree is verified before anything builds on it."""
    row = as_system(
        context, work.call.actor.org_id, lambda unit: find_step(unit, said["step"]), read_only=True
    )
    if row.output_tree:
        workspace.scratch_of(context, work, workspace.below(context, work)).verify(row.output_tree)
    verdict = {"verdict": "recorded", "of": row.id, "why": said["why"]}
    result = {**row.result, REPLAY: verdict}
    if said["vary"] and row.status not in GOOD:
        return Done("failed", "exit", row.error, output_tree=row.output_tree, result=result, retry=False)
    return Done("succeeded", output_tree=row.output_tree, result=result)


def _unchanged(context: Context, work: Work, found: Record) -> Done:
    """A step to which nothing has changed comes to the recorded end."""
    if found.output_tree:
        workspace.scratch_of(context, work, workspace.below(context, work)).verify(found.output_tree)
    result = {**found.result, REPLAY: {"verdict": "unchanged", "of": found.step_id}}
    if _end(found.status) != "succeeded":
        return Done("failed", "exit", found.error, output_tree=found.output_tree, result=result, retry=False)
    return Done("succeeded", output_tree=found.output_tree, result=result)


def _material(context: Context, work: Work, found: Record) -> list[str]:
    """Names of the ingredients that differ from those recorded; the network, which is off, does not count."""

    def look(unit: Unit) -> list[str]:
        now = records.material(unit, work).ingredients
        then = found.ingredients
        without = {name: value for name, value in then.definition.items() if name != "network"}
        return changed(replace(then, definition=without, reach=now.reach), now)

    return perform(context, work.call, look, durable=False)


def _moved(context: Context, work: Work, found: Record) -> list[str]:
    """Whether the system that commands find is another one than it was. Raises like running one would."""
    definition = found.ingredients.definition
    runtime, profile = str(definition.get("runtime") or ""), str(definition.get("profile") or "")

    def look(unit: Unit) -> list[str]:
        now = compute.runtime_of(unit, work.repo_id, runtime, profile)[1]
        return [] if now == found.ingredients.runtime else ["runtime"]

    return perform(context, work.call, look, durable=False)
