"""Where runs, their steps and what they kept come from, as edges of one graph with commits and approvals."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from builderos.assets.artifacts import service as artifacts
from builderos.assets.artifacts.schema import WhichIn
from builderos.core.unit import Unit

from .effects import effects_of
from .model import steps
from .rows import Row
from .seen import seen_run, seen_step

Edge: TypeAlias = tuple[str, str, str]
_SHOWN: Final = 500


def of_run(unit: Unit, id_: str) -> list[Edge]:
    """A run with its steps, the first 500 of them, and what it kept. Raises `not_found`."""
    run = seen_run(unit, id_)
    wanted = sa.select(steps).where(steps.c.run_id == run.id).order_by(steps.c.position).limit(_SHOWN)
    edges = _run(unit, run)
    for row in unit.execute(wanted):
        edges += _step(row)
    for kept in artifacts.reading.of_run(unit, run.id)[:_SHOWN]:
        edges += _artifact(kept)
    return edges


def of_step(unit: Unit, id_: str) -> list[Edge]:
    """A step and its run. Raises `not_found`."""
    run, row = seen_step(unit, id_)
    kept = [item for item in artifacts.reading.of_run(unit, run.id) if item.step_id == id_]
    return [*_step(row), *(edge for item in kept for edge in _artifact(item)), *_run(unit, run)]


def of_artifact(unit: Unit, id_: str) -> list[Edge]:
    """An artifact, the step that made it, and its run. Raises `not_found`."""
    kept = artifacts.reading.get(unit, WhichIn(id=id_))
    edges = _artifact(kept)
    if kept.step_id is not None:
        run, row = seen_step(unit, kept.step_id)
        edges += [*_step(row), *_run(unit, run)]
    elif kept.run_id is not None:
        edges += _run(unit, seen_run(unit, kept.run_id))
    return edges


def _run(unit: Unit, run: Row) -> list[Edge]:
    subject = f"run:{run.id}"
    edges = [
        (subject, "of_pipeline", f"pipeline:{run.pipeline}@{run.version}"),
        (subject, "defined_by", f"definition:{run.definition_digest}"),
        (subject, "started_by", f"actor:{run.actor_id}"),
    ]
    if run.base_sha is not None:
        edges.append((subject, "began_from", f"commit:{run.base_sha}"))
    if run.rerun_of is not None:
        edges.append((subject, "replays" if run.kind == "replay" else "repeats", f"run:{run.rerun_of}"))
    edges += [(f"commit:{sha}", "made_by_run", subject) for sha in run.commits]
    edges += [(subject, "needed", f"approval:{id_}") for id_ in run.approvals]
    return edges + [(subject, "did", f"effect:{e.kind}:{e.key}") for e in effects_of(unit, run.id)]


def _step(row: Row) -> list[Edge]:
    subject = f"step:{row.id}"
    told = (
        ("part_of", "run", row.run_id), ("read", "tree", row.input_tree), ("wrote", "tree", row.output_tree),
        ("made_of", "key", row.cache_key), ("ran_as", "execution", row.sandbox_run_id), ("by", "agent", row.agent_id),
        ("needed", "approval", row.approval_id), ("committed", "commit", row.commit_sha),
    )  # fmt: skip
    edges = [(subject, relation, f"{kind}:{value}") for relation, kind, value in told if value]
    rules = dict.fromkeys(str(event.get("rule") or "") for event in row.policy_events)
    return edges + [(subject, "decided_by", f"rule:{rule}") for rule in rules if rule]


def _artifact(kept: Any) -> list[Edge]:
    subject = f"artifact:{kept.id}"
    edges = [(subject, "is", f"content:{kept.hash}")]
    if kept.step_id is not None:
        edges.append((subject, "made_by", f"step:{kept.step_id}"))
    elif kept.run_id is not None:
        edges.append((subject, "made_by", f"run:{kept.run_id}"))
    if kept.created_by_prompt is not None:
        edges.append((subject, "with_prompt", f"prompt:{kept.created_by_prompt}"))
    return edges


ORIGINS: Final[Mapping[str, Callable[[Unit, str], list[Edge]]]] = {
    "run": of_run, "stp": of_step, "art": of_artifact,
}  # fmt: skip
