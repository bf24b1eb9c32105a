"""What must hold before a step counts as succeeded, and people who are asked."""

from builderos.core.problems import Problem
from builderos.core.steps import Done, Gates, Work
from builderos.core.unit import Unit

from .course import Course
from .rows import Row


def ask(unit: Unit, course: Course, step: Row, kind: str) -> None:
    """Ask somebody, and park the step until there is an answer."""
    del unit, course, step
    raise Problem("not_found", f"there is no action {kind}", hint="Correct the pipeline.")


def passed(unit: Unit, course: Course, step: Row, work: Work, done: Done) -> Done:
    """The outcome of a step that succeeded, as its gates see it."""
    del course, step
    known = unit.get(Gates)
    for gate in work.node.gates:
        kind = str(gate.kind)
        if kind not in known:
            return Done("failed", "gate", f"nobody here can check the gate {kind}", retry=False)
        verdict = known.get(kind)(unit, work, done, gate)
        if verdict.verdict == "fail":
            return Done("failed", "gate", verdict.why or f"the gate {kind} did not pass", result=done.result)
    return done
