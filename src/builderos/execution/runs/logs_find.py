"""Where the log of an attempt lies: on this machine, or put away where every machine finds it.

A log grows on the disk of the machine that runs the step. Where several machines share a database, an ended log is put
into the artifact store, and whoever is asked for it elsewhere takes a copy from there; where they share the state
folder, too, every log can be followed everywhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from builderos.assets.artifacts import service as artifacts
from builderos.assets.artifacts.ports import RunFacts, Runs
from builderos.assets.artifacts.schema import ListIn
from builderos.core.context import Context
from builderos.core.home import PROJECTS, project_state
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.core.unit import Unit, as_system

from .logs import copied, end_of
from .model import steps
from .rows import ENDED, Row

TYPE: Final = "log"
_TEXT: Final = "text/plain; charset=utf-8"


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


def kept_of(path: Path) -> Path:
    """The file that is there once a log was put away."""
    return path.with_name(path.name + ".kept")


def put_away(context: Context, org_id: str, found: Attempt) -> bool:
    """Put the log of an ended attempt where every machine finds it; whether it is there now. Safe to repeat.

    Where this machine is the only one, it stays where it is.
    """
    path = found.path
    if not shares(context) or not end_of(path).exists() or kept_of(path).exists():
        return kept_of(path).exists()
    if path.stat().st_size:
        ready = artifacts.prepare(context, org_id, path, path=found.ref, media_type=_TEXT)

        def keep(unit: Unit) -> None:
            facts = unit.get(Runs).find(unit, found.run_id)
            artifacts.keep(
                unit, ready, path=found.ref, run_id=found.run_id, step_id=found.step_id, type_=TYPE,
                facts=facts or RunFacts(None, None, None),
            )  # fmt: skip

        as_system(context, org_id, keep)
    kept_of(path).touch(0o600)
    return True


def shares(context: Context) -> bool:
    """Whether other machines may work on the same database."""
    return context.get(Settings).database_url is not None


def left_behind(context: Context, org_id: str, since: float) -> Iterator[Attempt]:
    """Logs on this machine that ended after `since` (seconds of the epoch) and were not put away."""
    for path in (context.get(Settings).home_dir / PROJECTS / org_id).glob("*/logs/run_*/*.log"):
        ended = end_of(path)
        if kept_of(path).exists() or not ended.exists() or ended.stat().st_mtime < since:
            continue
        name, _, number = path.stem.rpartition(".")
        found = as_system(
            context, org_id, lambda unit, p=path, n=name: _step_of(unit, p.parent.name, n), read_only=True
        )
        if found is not None and number.isdecimal():
            ref = ref_of(path.parent.name, name, int(number))
            yield Attempt(path.parent.name, found, name, int(number), ref, path, ended=True)


def _step_of(unit: Unit, run_id: str, name: str) -> str | None:
    wanted = sa.select(steps.c.id).where(steps.c.run_id == run_id, steps.c.name == name)
    return unit.execute(wanted).scalar_one_or_none()
