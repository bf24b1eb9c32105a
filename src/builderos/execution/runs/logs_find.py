"""Where the log of an attempt lies: on this machine, or put away where every machine finds it.

A log grows on the disk of the machine that runs the step. Where several machines share a database, an ended log is put
into the artifact store, and whoever is asked for it elsewhere takes a copy from there; where they share the state
folder, too, every log can be followed everywhere.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from builderos.assets.artifacts import service as artifacts
from builderos.assets.artifacts.ports import RunFacts, Runs
from builderos.assets.artifacts.schema import ListIn
from builderos.core.context import Context
from builderos.core.home import project_state
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.core.unit import Call, Unit, perform

from .logs import copied, end_of
from .rows import ENDED, Row

TYPE: Final = "log"


@dataclass(frozen=True)
class Attempt:
    """One attempt of a step and its log. `ended`: there will be no more of it."""

    run_id: str
    step_id: str
    name: str
    attempt: int
    ref: str
    path: Path
    ended: bool


def state_of(unit: Unit, run: Row) -> Path:
    """The `.builderos/` folder that a run belongs to."""
    return project_state(unit.settings.home_dir, unit.org_id, run.project_id)


def ref_of(run_id: str, name: str, attempt: int) -> str:
    """Where the log of an attempt lies in that folder; `logs_ref` of a step is that of its last one."""
    return f"logs/{run_id}/{name}.{attempt}.log"


def attempt_of(unit: Unit, run: Row, step: Row, attempt: int | None = None) -> Attempt:
    """An attempt of a step, the last one unless another is named. Raises `not_found`."""
    number = step.attempt if attempt is None else attempt
    if not 0 <= number <= step.attempt or (attempt == 0):
        raise Problem(
            "not_found",
            f"this step has had {step.attempt} attempts",
            hint="Leave out attempt for the last one.",
        )
    ref = ref_of(run.id, step.name, number)
    ended = number < step.attempt or step.status in ENDED or step.status == "retrying"
    return Attempt(run.id, step.id, step.name, number, ref, state_of(unit, run) / ref, ended)


def ensure_here(unit: Unit, found: Attempt) -> bool:
    """Whether the log lies on this machine; an ended one is fetched from the artifact store where it is not."""
    if found.path.exists():
        return True
    if not found.ended:
        return False
    page = artifacts.reading.listed(unit, ListIn(run_id=found.run_id, path=found.ref, limit=1))
    if not page.items:
        return False
    copied(found.path, artifacts.open_(unit, page.items[0].id))
    return True


def put_away(context: Context, call: Call, found: Attempt) -> bool:
    """Put the log of an ended attempt where every machine finds it; whether there was one. Safe to repeat.

    Where this machine is the only one, it stays where it is.
    """
    if context.get(Settings).database_url is None or not end_of(found.path).exists():
        return False
    if found.path.stat().st_size == 0:
        return False
    ready = artifacts.prepare(
        context, call.actor.org_id, found.path, path=found.ref, media_type="text/plain; charset=utf-8"
    )

    def keep(unit: Unit) -> None:
        facts = unit.get(Runs).find(unit, found.run_id) if Runs in context else None
        artifacts.keep(
            unit, ready, path=found.ref, run_id=found.run_id, step_id=found.step_id, type_=TYPE,
            facts=facts or RunFacts(None, None, None),
        )  # fmt: skip

    perform(context, call, keep)
    return True
