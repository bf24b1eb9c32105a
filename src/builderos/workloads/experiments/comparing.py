"""Runs side by side: which parameters differ, what came of each, how it came about."""

import math
from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from builderos.core.unit import Unit
from builderos.trust.audit import service as audit

from .grammar import invalid
from .model import artifacts, latest, metrics, params, runs
from .reach import experiment, no_run
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
    return Comparison(
        runs=[_run(found[id_]) for id_ in ids], params=_params(unit, ids), metrics=_metrics(unit, ids),
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


def _table(rows: Sequence[Row], ids: Sequence[str], value: str) -> dict[str, list[Any]]:
    """Rows of run, key and value as one list for each key, in the order of the runs."""
    places = {id_: at for at, id_ in enumerate(ids)}
    found: dict[str, list[Any]] = {}
    for row in rows:
        found.setdefault(row.key, [None] * len(ids))[places[row.run_id]] = getattr(row, value)
    return dict(sorted(found.items()))


def _params(unit: Unit, ids: Sequence[str]) -> list[ComparedParam]:
    c = params.c
    rows = unit.execute(sa.select(c.run_id, c.key, c.value).where(c.run_id.in_(ids))).all()
    return [
        ComparedParam(key=key, values=values, differs=len(set(values)) > 1)
        for key, values in _table(rows, ids, "value").items()
    ]


def _metrics(unit: Unit, ids: Sequence[str]) -> list[ComparedMetric]:
    c = latest.c
    rows = unit.execute(sa.select(c.run_id, c.key, c.value).where(c.run_id.in_(ids))).all()
    found: list[ComparedMetric] = []
    for key, values in _table(rows, ids, "value").items():
        finite = [value for value in values if value is not None and math.isfinite(value)]
        found.append(
            ComparedMetric(
                key=key, values=[None if value is None else number(value) for value in values],
                least=min(finite, default=None), greatest=max(finite, default=None),
            )
        )  # fmt: skip
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
    wanted = sa.select(c.owner.label("run_id"), c.path.label("key"), c.artifact_id, c.size).where(
        c.owner.in_(ids)
    )
    rows = unit.execute(wanted.order_by(c.path).limit(MAX_FILES)).all()
    which, sizes = _table(rows, ids, "artifact_id"), _table(rows, ids, "size")
    return [ComparedFile(path=path, artifacts=found, sizes=sizes[path]) for path, found in which.items()]
