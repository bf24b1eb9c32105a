"""Serving a step from the record of another one with an equal key, after everything in it was verified."""

import logging
from typing import Any, Final

import sqlalchemy as sa

from builderos.assets.artifacts import service as artifacts
from builderos.core.context import Context
from builderos.core.home import project_state
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.core.steps import Done, Work
from builderos.core.unit import Unit, as_system, perform
from builderos.trust.notices import service as notices

from . import records, workspace
from .logs import Sink
from .outputs import Output
from .records import Damaged, Material, Record
from .records_model import step_records

log = logging.getLogger("builderos.runs")
_TRIED: Final = 3  # newest first


def look(context: Context, work: Work) -> tuple[Material, Done | None]:
    """What an attempt will be made of, and its outcome where that is known. Blocks."""
    known = perform(context, work.call, lambda unit: records.material(unit, work), durable=False)
    return known, served(context, work, known)


def served(context: Context, work: Work, known: Material) -> Done | None:
    """The step's outcome from a record, or None. Blocks. A damaged record is not used, and an alert tells of it.

    Never across organisations (row-level security, and the seal), nor across repositories: who may start a run in one
    need not be able to see another.
    """
    if not work.node.cache:
        return None
    rows = perform(context, work.call, lambda unit: _candidates(unit, work, known.key), read_only=True)
    for row in rows:
        try:
            found = records.read(row)
            done = intact(context, work, found)
        except Damaged as why:
            _alarm(context, work, row, str(why))
            continue
        except Problem as why:  # gone by its term, or out of reach: then the step is executed
            if why.code == "hash_mismatch":
                _alarm(context, work, row, str(why))
            continue
        return _told(context, work, known, found, done)
    return None


def _candidates(unit: Unit, work: Work, key: str) -> list[Any]:
    c = step_records.c
    wanted = sa.select(step_records).where(
        c.org_id == unit.org_id, c.key == key, c.servable, c.repo_id.is_not_distinct_from(work.repo_id)
    )
    return list(unit.execute(wanted.order_by(c.recorded_at.desc()).limit(_TRIED)))


def intact(context: Context, work: Work, found: Record) -> Done:
    """What a record holds, once its tree and its artifacts were read and hashed. Raises `Damaged`, `hash_mismatch`."""
    if found.output_tree:
        workspace.scratch_of(context, work, workspace.below(context, work)).verify(found.output_tree)
    outputs = tuple(_again(context, work, kept) for kept in found.artifacts)
    return Done(
        "cached",
        output_tree=found.output_tree,
        result=found.result,
        exit_code=found.exit_code,
        artifacts=outputs,
    )


def _again(context: Context, work: Work, kept: Any) -> Output:
    """The content of an artifact, read and hashed, ready to be kept for another step."""
    handle = as_system(
        context,
        work.call.actor.org_id,
        lambda unit: artifacts.reading.handle_of(unit, kept["id"]),
        read_only=True,
    )
    if f"sha256:{handle.what.hash.hex()}" != kept["hash"]:
        raise Damaged(f"the artifact {kept['path']} is another one")
    for _ in handle.read(0, handle.what.size):
        pass
    return Output(
        kept["path"], artifacts.Prepared(handle.what, handle.store, kept["media_type"], redacted=False)
    )


def _told(context: Context, work: Work, known: Material, found: Record, done: Done) -> Done:
    """The outcome, with where it comes from; its log says so, too."""
    source = f"{found.run_id}/{found.step_id}"
    state = project_state(context.get(Settings).home_dir, work.call.actor.org_id, work.project_id)
    path = state / "logs" / work.run_id / f"{work.name}.{work.attempt}.log"
    with Sink(path, plain=True) as sink:
        sink.write(f"Served from the record of {found.name} in {found.run_id}: {known.key}\n".encode())
    made = Material(known.ingredients, known.runtime, known.environment, source)
    return Done(
        "cached", output_tree=done.output_tree, result=done.result, exit_code=done.exit_code, artifacts=done.artifacts,
        record=made,
    )  # fmt: skip


def _alarm(context: Context, work: Work, row: Any, why: str) -> None:
    log.error("the record of step %s is not used: %s", row.step_id, why)
    detail = {"run_id": row.run_id, "step_id": row.step_id, "key": row.key, "fault": why[:300]}
    as_system(
        context, work.call.actor.org_id,
        lambda unit: notices.raise_alert(unit, "record_altered", row.step_id, detail),
    )  # fmt: skip
