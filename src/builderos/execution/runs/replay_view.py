"""How a replay came out: a verdict for each step, and the first divergence down to the file."""

from typing import Any

import sqlalchemy as sa

from builderos.core.problems import Problem
from builderos.core.unit import Unit

from .model import steps
from .replay_schema import Divergence, ReplayedStep, ReplayResult, ReplayResultIn
from .replay_steps import REPLAY
from .rows import ENDED, OVER, Row
from .seen import seen_run
from .trees import base_of, scratch_of
from .view_diff import compared


def result(unit: Unit, body: ReplayResultIn) -> ReplayResult:
    """Raises `not_found` for what is no replay, or may not be seen."""
    run = seen_run(unit, body.id)
    if run.kind != REPLAY:
        raise Problem("not_found", "this run replays no other", hint="Start a replay of it first.")
    rows = unit.execute(sa.select(steps).where(steps.c.run_id == run.id).order_by(steps.c.position)).all()
    told = [_step(row) for row in rows]
    diverged = next((row for row, step in zip(rows, told, strict=True) if step.verdict == "diverged"), None)
    over = run.status in OVER
    executed = sum(step.verdict in ("same", "diverged") and step.why is None for step in told)
    served = sum(step.verdict in ("recorded", "unchanged") for step in told)
    reproduced = None if not over else diverged is None and all(step.verdict != "open" for step in told)
    return ReplayResult(
        run_id=run.id, of=run.rerun_of, against=run.trigger.get("against"), status=run.status, reproduced=reproduced,
        executed=executed, served=served, steps=told,
        first_divergence=_divergence(unit, run, diverged) if diverged is not None else None,
        message=_message(run, reproduced, executed, served, diverged),
    )  # fmt: skip


def _step(row: Row) -> ReplayedStep:
    said: dict[str, Any] = row.result.get(REPLAY) or {}
    verdict = said.get("verdict") or ("skipped" if row.status == "skipped" else "open")
    why = said.get("why") or (row.error or row.reason if verdict == "open" and row.status in ENDED else None)
    return ReplayedStep(
        name=row.name, status=row.status, verdict=verdict, why=why, of=said.get("of"),
        differs=said.get("differs", []), ingredients=said.get("ingredients", []),
    )  # fmt: skip


def _divergence(unit: Unit, run: Row, row: Row) -> Divergence:
    said = row.result[REPLAY]
    expected, found = said["expected"], said["found"]
    diff = None
    if "tree" in said["differs"] and expected["tree"] and found["tree"]:
        diff = compared(scratch_of(unit, run), expected["tree"] or base_of(unit, run), found["tree"])
    paths = [file.path for file in diff.files] if diff is not None else []
    paths += sorted(
        path
        for path in {*expected["artifacts"], *found["artifacts"]}
        if expected["artifacts"].get(path) != found["artifacts"].get(path)
    )
    return Divergence(
        step=row.name, differs=said["differs"], expected=expected, found=found, error=said.get("error", ""),
        path=paths[0] if paths else None, diff=diff,
    )  # fmt: skip


def _message(run: Row, reproduced: bool | None, executed: int, served: int, diverged: Row | None) -> str:
    if reproduced is None:
        return f"The replay of {run.rerun_of} is {run.status}."
    counted = f"{executed} executed again, {served} served from the record"
    if reproduced:
        return f"{run.rerun_of} came to the same trees and artifacts: {counted}."
    if diverged is None:
        return f"The replay of {run.rerun_of} did not come to its end: {run.detail or run.status}."
    return f"{run.rerun_of} came to something else, first in {diverged.name}: {counted}."
