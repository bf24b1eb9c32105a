"""What is done when a run has ended, in the unit that ends it."""

from typing import Any, Final

from builderos.core.unit import Unit
from builderos.trust.ledger import service as ledger

from . import groups, spans
from .course import Course
from .local_files import LocalFiles
from .rows import Row

_TOLD: Final = ("name", "id", "status", "reason", "output_tree", "commit_sha")
_MOST: Final = 500


def finish(unit: Unit, course: Course) -> None:
    """Close a course; of a run that is over by that, write what is written then. Last in its unit."""
    course.close()
    for asked in course.asked:
        ledger.record(unit, "run.asked", course.run.id, asked | _place_of(course.run))
    wind_up(unit, course)


def wind_up(unit: Unit, course: Course) -> None:
    """Write what is written of a run that is over by this unit, and let others of its group begin."""
    for line in course.told:
        ledger.record(unit, *line)
    if course.over:
        unit.outlast()
        spans.run_ended(unit, course.run, course.status)
        told = ended(unit, course)
        unit.get(LocalFiles).note(unit, course.run.id, told)
        if course.run.group_name is not None:
            admit(unit, course.run.group_name)


def admit(unit: Unit, group: str) -> None:
    """Let runs of a group begin as far as there is room."""
    for course in groups.admit(unit, group):
        wind_up(unit, course)


def ended(unit: Unit, course: Course) -> int:
    """The ledger's line of a run that is over: what every step came to; how many of them it tells of."""
    run = course.run
    known = course.written
    if known is not None:
        told = [tuple(map(row.get, _TOLD)) for row in known[:_MOST]]
    else:
        told = unit.ask("ops.step_ends", run.id)
    payload: dict[str, Any] = {
        "pipeline": f"{run.pipeline}@{run.version}", "kind": run.kind, "status": course.status,
        "steps": [{k: v for k, v in zip(_TOLD, row, strict=True) if v is not None} for row in told],
        "commits": course.values.get("commits", run.commits),
    }  # fmt: skip
    ledger.record(unit, "run.ended", run.id, payload | _place_of(run))
    return len(told)


def _place_of(run: Row) -> dict[str, str]:
    if not run.repo_name:
        return {}
    return {"repo": run.repo_name, "branch": run.branch, "repo_id": run.repo_id}
