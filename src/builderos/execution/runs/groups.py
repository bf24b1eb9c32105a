"""Runs that must not go on beside each other: at most so many of one group at a time, the others wait their turn."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from builderos.core.unit import Unit

from .course import Course
from .model import runs, steps
from .rows import Row

_LOCK = 0x72756E73  # one lock per organisation and group, until the transaction ends


def name_of(definition: Mapping[str, Any]) -> str | None:
    """The group of a definition's runs: its own name where none is given; None where they go on beside each other."""
    limit = definition.get("concurrency")
    return None if limit is None else str(limit.get("group") or definition["name"])


def has_room(unit: Unit, group: str, definition: Mapping[str, Any]) -> bool:
    """Whether another run of the group may begin; nobody else decides about the group until this unit ends."""
    _lock(unit, group)
    return _running(unit, group) < _most(definition)


def waiting(unit: Unit, group: str) -> Sequence[Row]:
    """Runs of the group that wait for their turn, locked, in that order. What somebody else holds is left out."""
    c = runs.c
    wanted = sa.select(runs).where(c.group_name == group, c.ended_at.is_(None), c.held)
    return unit.execute(wanted.order_by(c.priority, c.id).with_for_update(skip_locked=True)).all()


def admit(unit: Unit, group: str) -> list[Course]:
    """Let runs of the group begin as far as there is room; those of which by their conditions no step is to run, and
    which are over at once.
    """
    over: list[Course] = []
    _lock(unit, group)
    running = _running(unit, group)
    for run in waiting(unit, group):
        if running >= _most(run.definition):
            break
        course = Course(unit, run)
        course.values["held"] = False
        first = unit.rows(steps, order="position", run_id=run.id, waiting_for=0)
        course.first([row for row in first if row.ended_at is None])
        course.close()
        if course.over:
            over.append(course)
        else:
            running += 1
    return over


def _lock(unit: Unit, group: str) -> None:
    unit.ask("pg_advisory_xact_lock", _LOCK, zlib.crc32(f"{unit.org_id} {group}".encode()) - 2**31)


def _running(unit: Unit, group: str) -> int:
    c = runs.c
    count = sa.select(sa.func.count()).where(c.group_name == group, c.ended_at.is_(None), c.held.is_(False))
    return int(unit.execute(count).scalar_one())


def _most(definition: Mapping[str, Any]) -> int:
    return int(definition["concurrency"].get("max", 1))
