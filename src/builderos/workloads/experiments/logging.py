"""Logging to a run: points of series, parameters, tags. The same sent twice is kept once.

A point leaves no line in the ledger: the run's end has one that says what was logged. Whoever logs needs few words of
us, and many times a second: one question to the database, and one message that logs and commits.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from builderos.core.problems import Problem
from builderos.core.unit import Unit

from .limits import (
    MAX_INT,
    MAX_METRICS,
    MAX_PARAM,
    MAX_PARAMS,
    MAX_TAGS,
    MAX_TOGETHER,
    check_key,
    check_tags,
    check_texts,
    invalid,
)
from .reach import Spot, spot

NAME: Final = "mlflow.runName"


class Point(NamedTuple):
    """A value of a series. `at`: milliseconds since 1970 by the client's clock."""

    key: str
    value: float
    at: int
    step: int


def log(
    unit: Unit,
    run_id: str,
    *,
    metrics: Sequence[Point] = (),
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    most: bool = True,
) -> Spot:
    """Log all of it, or nothing. `most`: at most as much as one request may bring.

    Raises `validation_failed`, `not_found`, `conflict` for a parameter that had another value.
    """
    given, marks = params or {}, tags or {}
    if most:
        _check_count(len(metrics), len(given), len(marks))
    for point in metrics:
        if not (-MAX_INT <= point.at <= MAX_INT and -MAX_INT <= point.step <= MAX_INT):
            raise invalid("timestamp and step of a metric must fit into 64 bits")
    for key in {point.key for point in metrics}:
        check_key(key, "metric")
    check_texts(given, "param", MAX_PARAM)
    check_tags(marks)
    found = spot(unit, run_id, "experiment.write")
    if not found.active:
        raise gone(run_id)
    _write(unit, found, metrics, given, marks)
    return found


def gone(run_id: str) -> Problem:
    """Nothing is logged to a run that was deleted."""
    return invalid(
        f"The run {run_id} must be in the 'active' state. Current state is deleted.", hint="Restore it first."
    )


def _check_count(metrics: int, params: int, tags: int) -> None:
    for count, limit, what in (
        (metrics, MAX_METRICS, "metrics"), (params, MAX_PARAMS, "params"), (tags, MAX_TAGS, "tags"),
        (metrics + params + tags, MAX_TOGETHER, "metrics, params, and tags"),
    ):  # fmt: skip
        if count > limit:
            raise invalid(
                f"A batch logging request can contain at most {limit} {what}. Got {count} {what}. "
                f"Please split up {what} across multiple requests and try again."
            )


def _write(
    unit: Unit, at: Spot, metrics: Sequence[Point], params: Mapping[str, str], tags: Mapping[str, str]
) -> None:
    if params:
        keys, values = list(params), list(params.values())
        changed = unit.ask("ops.log_params", at.id, at.experiment_id, at.started_at, keys, values)
        if changed:
            raise _other_value(at.id, *changed[0])
    if tags:
        unit.send("ops.log_tags", at.id, at.experiment_id, at.started_at, list(tags), list(tags.values()))
    if metrics:
        # Written as PostgreSQL reads arrays: a thousand numbers are one text.
        columns = ("{" + ",".join(map(repr, column)) + "}" for column in (
            [p.value for p in metrics], [p.at for p in metrics], [p.step for p in metrics],
        ))  # fmt: skip
        unit.send("ops.log_metrics", at.id, at.experiment_id, [p.key for p in metrics], *columns)


def _other_value(run_id: str, key: str, old: str, new: str) -> Problem:
    return Problem(
        "conflict",
        f"Changing param values is not allowed. Param with key='{key}' was already logged with value='{old}' for run "
        f"ID='{run_id}'. Attempted logging new value '{new}'.",
        hint="Log it under another name, or begin another run.", what="param",
    )  # fmt: skip
