"""What nobody needs any more: folders of sessions that ended long ago, and those of organisations that go."""

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from builderos.core.context import Context
from builderos.core.unit import Unit, as_system
from builderos.engine import signals
from builderos.execution.runs import service as runs

from . import rows
from .keeping import Keeper
from .model import sessions, tokens

KEPT: Final = timedelta(days=30)  # a folder after its session's end: what git may hold is on the branch
_AT_ONCE: Final = 500


def tidy(context: Context, org_id: str) -> None:
    """For the engine, each day."""
    for folder in as_system(context, org_id, _old):
        runs.workspace.marker_of(folder).unlink(missing_ok=True)  # first: half of a folder does not count
        shutil.rmtree(folder.parent, ignore_errors=True)


def erase(context: Context, org_id: str) -> None:
    """End all that any process runs of an organisation that is erased; safe to repeat."""
    context.get(Keeper).forget(org_id)
    as_system(context, org_id, lambda unit: signals.tell(unit, rows.WORD, f"{org_id}  forget"))


def _old(unit: Unit) -> list[Path]:
    unit.execute(sa.delete(tokens).where(tokens.c.expires_at < unit.now))
    c = sessions.c
    ended = sa.select(sessions).where(c.ended_at < unit.now - KEPT).order_by(c.id.desc()).limit(_AT_ONCE)
    return [folder for row in unit.execute(ended) if (folder := rows.files_of(unit, row)).parent.exists()]
