"""What executions leave on this machine where a process died between writing down their end and forgetting them."""

import contextlib
from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from builderos.core.context import Context
from builderos.core.home import EXECUTIONS
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.core.unit import Unit, as_system

from .model import sandbox_runs
from .providers import SandboxProviders

LOCAL: Final = "local"
GRACE: Final = timedelta(days=1)


def forget_ended(context: Context, org_id: str) -> int:
    """Have this machine's provider forget executions that ended more than a day ago; returns how many it still knew.

    From their end on the rows answer, so nobody asks for them again. Folders without a row of this organisation are
    left: they are another one's, or not an execution of a run.
    """
    folder = context.get(Settings).home_dir / EXECUTIONS / LOCAL
    names = [found.name for found in folder.iterdir() if found.is_dir()] if folder.is_dir() else []
    if not names:
        return 0
    place, gone = context.get(SandboxProviders).place, 0
    for name in as_system(context, org_id, lambda unit: _ended(unit, names, place), read_only=True):
        with contextlib.suppress(Problem, FileNotFoundError):  # busy, or forgotten meanwhile: the next time
            context.get(SandboxProviders).provider(LOCAL).remove(name)
            gone += 1
    return gone


def _ended(unit: Unit, names: list[str], place: str) -> list[str]:
    c = sandbox_runs.c
    wanted = sa.select(c.sandbox_id).where(
        c.provider == LOCAL, c.place == place, c.sandbox_id.in_(names), c.finished_at < unit.now - GRACE
    )
    return list(unit.execute(wanted).scalars())
