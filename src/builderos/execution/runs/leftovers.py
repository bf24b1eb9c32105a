"""Folders of attempts that nobody needs any more: they go with their run, whatever became of the attempts.

An attempt that is recorded takes its folder away itself. One that was cancelled, refused or cut off leaves it: somebody
may yet find it again. That ends with the run, or with the schedule, where the process died that would have seen to it.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from builderos.core import folders
from builderos.core.clock import utcnow
from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.home import PROJECTS
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.core.unit import Unit, as_system

from .model import runs
from .workspace import WORK

log = logging.getLogger("builderos.runs")
_QUIET_S: Final = 600.0  # a folder that is younger may be on its way out
_AT_ONCE: Final = 500


def clear(context: Context, org_id: str, run_ids: Sequence[str]) -> None:
    """Take away all folders of runs that are over."""
    home = context.get(Settings).home_dir
    for works in (home / PROJECTS / org_id).glob(f"*/{WORK}"):
        for folder in filter(os.path.lexists, (works / run_id for run_id in run_ids)):
            folders.remove(folder)
            if folder.exists():
                log.warning("the folder of %s could not be removed", folder.name)


def sweep(context: Context, org_id: str) -> int:
    """Take away what runs left that are over; returns of how many."""
    found = as_system(context, org_id, lambda unit: lying(unit, quiet_s=_QUIET_S), read_only=True)
    for run_id in found:
        clear(context, org_id, [run_id])
    return len(found)


def lying(unit: Unit, *, quiet_s: float) -> list[str]:
    """Ids of runs of this organisation that have a folder here, untouched for so long, and are over or unknown."""
    oldest = utcnow().timestamp() - quiet_s
    base = unit.settings.home_dir / PROJECTS / unit.org_id
    there = sorted({path.name for path in base.glob(f"*/{WORK}/run_*") if _touched(path) <= oldest})
    live: set[str] = set()
    c = runs.c
    for at in range(0, len(there), _AT_ONCE):
        wanted = sa.select(c.id).where(c.id.in_(there[at : at + _AT_ONCE]), c.ended_at.is_(None))
        live.update(unit.execute(wanted).scalars())
    return [run_id for run_id in there if run_id not in live]


def soundness(unit: Unit) -> str:
    """For the doctor: whether runs that are over left folders on this machine. Raises `Problem` where they did."""
    found = _all(unit)
    if found:
        named = ", ".join(found[:10]) + (f" and {len(found) - 10} more" if len(found) > 10 else "")
        raise Problem("conflict", f"{len(found)} runs are over and have left their folders: {named}")
    return "no run that is over has left a folder"


def mend(unit: Unit) -> None:
    """For the doctor: take them away now."""
    for org_id in unit.get(Database).organisations("settle"):
        sweep(unit.context, org_id)


def _all(unit: Unit) -> list[str]:
    found: list[str] = []
    for org_id in unit.get(Database).organisations("settle"):
        found += as_system(unit.context, org_id, lambda own: lying(own, quiet_s=_QUIET_S), read_only=True)
    return found


def _touched(folder: Path) -> float:
    try:
        return os.stat(folder, follow_symlinks=False).st_mtime
    except OSError:  # somebody else was faster
        return float("inf")
