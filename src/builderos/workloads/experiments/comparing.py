"""Runs side by side: which parameters differ, what came of each, how it came about."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from builderos.core.unit import Unit
from builderos.trust.audit import service as audit

from .grammar import invalid
from .model import artifacts, metrics, runs
from .reach import experiment, no_run
from .runs import Shown, gathered
from .schema import (
    ComparedFile,
    ComparedMetric,
    ComparedParam,
    ComparedRun,
    ComparedSeries,
    CompareIn,
    Comparison,
    Number,
)

MAX_RUNS: Final = 100
MAX_SERIES: Final = 20
MAX_FILES: Final = 2000
Row = sa.Row[Any]


def compare(unit: Unit, body: CompareIn) -> Comparison:
    """Tables of runs of one experiment. Raises `not_found`, `validation_failed`."""
    ids = list(dict.fromkeys(part.strip() for part in body.runs.split(",") if part.strip()))
    keys = list(dict.fromkeys(part.strip() for part in body.series.split(",") if part.strip()))
    if not ids or len(ids) > MAX_RUNS or len(keys) > MAX_SERIES:
        raise invalid(f"compare takes 1 to {MAX_RUNS} runs and at most {MAX_SERIES} series")
    home, _ = experiment(unit, body.id, "experiment.read", gone=True)
    found = {row.id: row for row in unit.execute(sa.select(runs).where(runs.c.id.in_(ids)))}
    for id_ in ids:
        if id_ not in found or found[id_].experiment_id != home.id:
            raise no_run(id_)
    audit.access.note(unit, "experiment.compare", home.id, paths=ids)
    shown = gathered(unit, [found[id_] for id_ in ids], what=("metrics", "params"))
    return Comparison(
        runs=[_run(found[id_]) for id_ in ids], params=_params(shown), metrics=_metrics(shown),
        series=[_series(unit, [found[id_] for id_ in ids], key, body) for key in keys], files=_files(unit, ids),
    )  # fmt: skip


def number(value: float) -> Number:
    """A number for JSON."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _run(row: Row) -> ComparedRun:
    took = row.ended_at - row.started_at if row.ended_at is not None else None
    return ComparedRun(
        id=row.id, name=row.name, status=row.status, started_at_ms=row.started_at, ended_at_ms=row.ended_at,
        duration_ms=took if took is None or took >= 0 else None, dataset_ref=row.dataset_ref, code_sha=row.code_sha,
        runtime=row.runtime,
    )  # fmt: skip


def _table(columns: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """What each run has under its keys, as one list for each key, in the order of the runs."""
    found: dict[str, list[Any]] = {}
    for at, column in enumerate(columns):
        for key, value in column.items():
            found.setdefault(key, [None] * len(columns))[at] = value
    return dict(sorted(found.items()))


def _params(shown: Sequence[Shown]) -> list[ComparedParam]:
    return [
        ComparedParam(key=key, values=values, differs=len(set(values)) > 1)
        for key, values in _table([run.pairs("params") for run in shown]).items()
    ]


def _metrics(shown: Sequence[Shown]) -> list[ComparedMetric]:
    found: list[ComparedMetric] = []
    for key, values in _table([run.pairs("metrics") for run in shown]).items():
        finite = [value for value in values if isinstance(value, int | float)]
        found.append(
            ComparedMetric(
                key=key, values=values, least=min(finite, default=None), greatest=max(finite, default=None)
            )
        )
    return found


def _series(unit: Unit, of: Sequence[Row], key: str, body: CompareIn) -> ComparedSeries:
    """At most so many points of each run, evenly picked, the last one always."""
    c, most = metrics.c, body.points
    began = {row.id: row.started_at for row in of}
    own = sa.func.row_number().over(partition_by=c.run_id, order_by=(c.step, c.at))
    count = sa.func.count().over(partition_by=c.run_id)
    numbered = (
        sa.select(c.run_id, c.step, c.at, c.value, own.label("number"), count.label("count"))
        .where(c.run_id.in_(list(began)), c.key == key)
        .subquery()
    )
    n = numbered.c
    stride = sa.func.ceil(sa.cast(n["count"], sa.Double) / most).cast(sa.BigInteger)
    picked = sa.select(n.run_id, n.step, n.at, n.value).where(
        sa.or_((n["number"] - 1) % stride == 0, n["number"] == n["count"])
    )
    points: dict[str, list[tuple[int, Number]]] = {id_: [] for id_ in began}
    for row in unit.execute(picked.order_by(n.run_id, n["number"])):
        place = row.step if body.axis == "step" else row.at - began[row.run_id]
        points[row.run_id].append((place, number(row.value)))
    return ComparedSeries(key=key, points=[*points.values()])


def _files(unit: Unit, ids: Sequence[str]) -> list[ComparedFile]:
    c = artifacts.c
    wanted = sa.select(c.owner.label("run_id"), c.path, c.artifact_id, c.size).where(c.owner.in_(ids))
    rows = unit.execute(wanted.order_by(c.path).limit(MAX_FILES)).all()
    columns: dict[str, dict[str, Row]] = {id_: {} for id_ in ids}
    for row in rows:
        columns[row.run_id][row.path] = row
    return [
        ComparedFile(
            path=path, artifacts=[row and row.artifact_id for row in found], sizes=[row and row.size for row in found]
        )
        for path, found in _table([*columns.values()]).items()
    ]  # fmt: skip
