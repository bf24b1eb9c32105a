"""Searches: the same command with many parameters; one run of ShipMachine with a matrix, a part of it each trial."""

import itertools
import math
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import sqlalchemy as sa

from builderos.assets.workspaces import service as workspaces
from builderos.core.ids import new_id
from builderos.core.operations import Reply
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.execution.runs import service as execution
from builderos.trust.audit import service as audit

from . import reach, runs
from .comparing import number
from .limits import invalid
from .model import latest
from .model import runs as rows
from .model import tags as run_tags
from .schema import ExperimentRun
from .submit_schema import MAX_TRIALS, Goal, Scalar, Span, Sweep, SweepIn, Trial, WhichSweepIn
from .submitting import STEP, at, begin, pipeline, place_of, step_of
from .verbs import PARENT, as_run

STOPPED: Final = "builderos.stopped_early"
_DRAWS: Final = 20  # for each trial, before it is said that there are not so many
_DIGITS: Final = 12


def sweep(unit: Unit, body: SweepIn) -> Reply[ExperimentRun]:
    """Begin a search; its trials are scheduled when this returns. Raises what `submit` raises."""
    drawn = trials_of(body)
    place = place_of(unit, body)
    names = [f"{n:03}" for n in range(1, len(drawn) + 1)]
    matrix = execution.Matrix({"trial": tuple(names)})
    step = replace(step_of(body, place), matrix=matrix, parallel=body.parallel, on_fail="continue")
    run_id = execution.begin(
        unit, pipeline(body, step, kind="sweep", rounds=-(-len(drawn) // body.parallel)), {},
        at(place), {"type": "manual", "by": unit.actor.id}, kind="sweep",
    )  # fmt: skip
    id_, name = new_id("xrn"), body.name or workspaces.draw_name(0)
    said: dict[str, Any] = {
        "goal": body.goal.model_dump(), "stop": body.stop.model_dump() if body.stop else None, "method": body.method,
        "seed": body.seed, "parallel": body.parallel, "trials": len(drawn), "command": body.command,
        "space": {key: span.model_dump() if isinstance(span, Span) else span for key, span in body.space.items()},
    }  # fmt: skip
    tags = body.tags | ({PARENT: body.parent_id} if body.parent_id is not None else {})
    parent = begin(unit, place, id_, name, body.params, tags, run_id=run_id, step=None, sweep=said)
    for n, params in zip(names, drawn, strict=True):
        begin(
            unit, place, new_id("xrn"), f"{name}-{n}", body.params | params, body.tags | {PARENT: id_},
            run_id=run_id, step=f"{STEP}-{n}",
        )  # fmt: skip
    return Reply(202, as_run(parent))


def trials_of(body: SweepIn) -> list[dict[str, Scalar]]:
    """The parameters of each trial: equal input, equal list. Raises `validation_failed`."""
    if taken := sorted(set(body.params) & set(body.space)):
        raise invalid(
            f"{', '.join(taken)} is both searched and the same in all trials", hint="Take it from one."
        )
    for key, values in body.space.items():
        if isinstance(values, list) and not values:
            raise invalid(f"{key} has no values", hint="Name at least one.")
    found = _grid(body.space) if body.method == "grid" else _random(body)
    if len(found) > MAX_TRIALS:
        raise invalid(
            f"{len(found)} trials; the limit is {MAX_TRIALS}", hint="Search by chance: method random."
        )
    if body.method == "grid" and body.trials is not None and body.trials < len(found):
        return found[: body.trials]
    return found


def _grid(space: Mapping[str, list[Scalar] | Span]) -> list[dict[str, Scalar]]:
    axes: list[list[Scalar]] = []
    count = 1
    for key, values in space.items():
        axis = _steps(key, values) if isinstance(values, Span) else values
        count *= len(axis)
        if count > 100 * MAX_TRIALS:
            raise invalid(f"more than {MAX_TRIALS} combinations", hint="Search by chance: method random.")
        axes.append(axis)
    return [dict(zip(space, combination, strict=True)) for combination in itertools.product(*axes)]


def _steps(key: str, span: Span) -> list[Scalar]:
    """The numbers of a span, for a grid. Raises `validation_failed` where nobody said which."""
    step = span.step or (1.0 if span.whole else None)
    if step is None:
        raise invalid(f"a grid cannot try all numbers of {key}", hint="Give it a step, or list its values.")
    count = math.floor((span.max - span.min) / step * (1 + 1e-12)) + 1
    if count > 100 * MAX_TRIALS:
        raise invalid(f"more than {MAX_TRIALS} values of {key}", hint="Take a larger step.")
    return [_number(span.min + n * step, span) for n in range(count)]


def _random(body: SweepIn) -> list[dict[str, Scalar]]:
    """Trials by chance, each once; fewer where there are not so many."""
    if body.trials is None:
        raise invalid("say how many trials", hint="Set trials.")
    drawing = random.Random(body.seed)  # noqa: S311 - the same seed has to draw the same
    found: dict[tuple[Any, ...], dict[str, Scalar]] = {}
    for _ in range(body.trials * _DRAWS):
        if len(found) == body.trials:
            break
        one = {key: _drawn(drawing, values) for key, values in sorted(body.space.items())}
        found.setdefault(tuple(map(repr, one.values())), one)
    return list(found.values())


def _drawn(drawing: random.Random, values: list[Scalar] | Span) -> Scalar:
    if isinstance(values, list):
        return drawing.choice(values)
    if values.step is not None:
        most = math.floor((values.max - values.min) / values.step * (1 + 1e-12))
        return _number(values.min + drawing.randint(0, most) * values.step, values)
    if values.log:
        low, high = math.log(values.min), math.log(values.max)
        return _number(min(values.max, max(values.min, math.exp(drawing.uniform(low, high)))), values)
    return _number(drawing.uniform(values.min, values.max), values)


def _number(value: float, span: Span) -> Scalar:
    """As it is written down: integers where they are wanted, else no more digits than a search can mean."""
    if span.whole:
        return min(math.floor(span.max), max(math.ceil(span.min), round(value)))
    return float(f"{value:.{_DIGITS}g}")


def show(unit: Unit, body: WhichSweepIn) -> Sweep:
    """How a search stands, the best trial first. Raises `not_found`."""
    reach.spot(unit, body.id, "experiment.read")
    parent = runs.known(unit, body.id)
    if parent.sweep is None:
        raise Problem("not_found", "this run is no search", hint="Name the run that the trials are parts of.")
    audit.access.note(unit, "experiment_sweep.show", body.id)
    goal = Goal(**parent.sweep["goal"])
    trials = _trials(unit, parent, goal)
    counts: dict[str, int] = {}
    for trial in trials:
        counts[trial.status] = counts.get(trial.status, 0) + 1
    best = trials[0] if trials and _worth(trials[0]) is not None else None
    return Sweep(
        run=as_run(runs.gathered(unit, [parent])[0]), goal=goal, method=parent.sweep["method"],
        seed=parent.sweep["seed"], parallel=parent.sweep["parallel"], counts=counts, best=best, trials=trials,
    )  # fmt: skip


def _trials(unit: Unit, parent: runs.Row, goal: Goal) -> list[Trial]:
    c, m, t = rows.c, latest.c, run_tags.c
    point = sa.and_(m.org_id == c.org_id, m.run_id == c.id, m.key == goal.metric)
    stopped = sa.and_(t.org_id == c.org_id, t.run_id == c.id, t.key == STOPPED)
    wanted = (
        sa.select(c.id, c.name, c.status, c.params, m.value, t.value.label("stopped"))
        .select_from(rows.outerjoin(latest, point).outerjoin(run_tags, stopped))
        .where(c.run_id == parent.run_id, c.step.is_not(None))
        .order_by(c.step)
    )
    found = [
        Trial(
            id=row.id, name=row.name, status=row.status, params=row.params,
            value=None if row.value is None else number(row.value), stopped_early=row.stopped is not None,
        )
        for row in unit.execute(wanted)
    ]  # fmt: skip
    sign = -1.0 if goal.mode == "max" else 1.0

    def order(trial: Trial) -> tuple[bool, float]:
        worth = _worth(trial)
        return worth is None, sign * worth if worth is not None else 0.0

    return sorted(found, key=order)


def _worth(trial: Trial) -> float | None:
    """Its value where that can be compared."""
    value = trial.value
    return value if isinstance(value, float) and math.isfinite(value) else None
