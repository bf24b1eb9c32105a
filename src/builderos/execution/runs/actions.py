"""Built-in actions: what a step does without a command."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from builderos.assets.repositories import service as repositories
from builderos.assets.workspaces import service as workspaces
from builderos.assets.workspaces.service import Made
from builderos.core.problems import Problem
from builderos.core.steps import Action, Actions, Done, Work
from builderos.core.unit import Unit

from .commands import run_command
from .model import steps
from .proposing import open_pr
from .replay_steps import REPLAY, replay_step
from .rows import GOOD, QUEUE, Row, find_run
from .trees import base_of, scratch_of

MAX_MESSAGE = 2000
MAX_MAKERS = 200


def builtin(actions: Actions) -> None:
    """Enrol what this room can do itself."""
    actions.enrol("run", Action(outside=run_command, queue=QUEUE))
    actions.enrol(REPLAY, Action(outside=replay_step, queue=QUEUE, lasting=False))
    actions.enrol("noop", Action(in_unit=nothing, lasting=False, at_once=True))
    actions.enrol("git.open_pr", Action(in_unit=open_pr))
    actions.enrol("git.commit", Action(in_unit=commit, undo=take_back))


def nothing(unit: Unit, work: Work) -> Done:
    """Pass the inputs on."""
    del unit
    return Done(result=dict(work.node.inputs))


def commit(unit: Unit, work: Work) -> Done:
    """Put what the steps before have made on the run's branch, in one commit. Nothing new makes no commit.

    Inputs: `message`, `task_id`.
    """
    if work.branch_id is None:
        raise Problem("branch_required", "this run has no branch", hint="Start it with a branch.")
    run = find_run(unit, work.run_id)
    scratch = scratch_of(unit, run)
    base = base_of(unit, run)
    files: dict[str, Made] = {}
    for path, (was, now) in scratch.changes(base, work.input_tree or base).items():
        before = was.oid if was is not None else None
        if now is None:
            files[path] = Made(None, 0, before)
        elif now.mode != repositories.SUBMODULE:
            files[path] = Made(scratch.read(now.oid), now.mode, before)
    message = str(work.node.inputs.get("message") or f"Run {run.pipeline}: {work.name}")[:MAX_MESSAGE]
    task_id = work.node.inputs.get("task_id")
    written = workspaces.commit_result(
        unit, work.branch_id, files, message=message, run_id=work.run_id, step_id=work.step_id,
        task_id=str(task_id) if task_id else None, **_makers(unit, run, base),
    ) if files else None  # fmt: skip
    if written is None:
        return Done(result={"commit_sha": None, "files": 0})
    result = {"commit_sha": written.sha, "files": len(files)}
    return Done(result=result, commit_sha=written.sha)


def _makers(unit: Unit, run: Row, base: str) -> dict[str, str]:
    """The agents that changed something in a run, with their models and prompts, as a commit tells of them."""
    c = steps.c
    wanted = sa.select(c.result, c.input_tree, c.output_tree).where(
        c.run_id == run.id, c.result["made_with"].astext.is_not(None), c.status.in_(sorted(GOOD))
    )
    rows = unit.execute(wanted.order_by(c.position)).all()
    known: list[Mapping[str, str]] = [
        row.result["made_with"]
        for row in rows
        if row.result.get("made_with") and row.output_tree != (row.input_tree or base)
    ]
    if not known:
        return {}
    agents = [f"{one['agent']} ({one['model']})" for one in known]
    return {"agent_version": _named(agents), "prompt_version": _named([one["prompt"] for one in known])}


def _named(names: list[str]) -> str:
    """As many of them, each once, as a line of a commit holds."""
    told = ""
    for name in dict.fromkeys(names):
        longer = f"{told}, {name}" if told else name
        told = longer if len(longer) <= MAX_MAKERS else told
    return told


def take_back(unit: Unit, work: Work, result: Mapping[str, Any]) -> None:
    """Undo the commit that a step made, by a commit."""
    sha = result.get("commit_sha")
    if sha is not None and work.branch_id is not None:
        reason = f"The run {work.run_id} was rolled back."
        workspaces.revert_result(
            unit, work.branch_id, str(sha), reason=reason, run_id=work.run_id, step_id=work.step_id
        )
