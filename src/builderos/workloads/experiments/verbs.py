"""The verbs of experiments as our own API speaks them."""

import sqlalchemy as sa

from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.unit import Unit

from . import asking, files, keeping, reach, runs
from .comparing import number
from .logging import Point, log
from .model import experiments
from .schema import (
    Experiment,
    ExperimentChangeIn,
    ExperimentFile,
    ExperimentIn,
    ExperimentInput,
    ExperimentListIn,
    ExperimentPage,
    ExperimentRun,
    ExperimentRunPage,
    ExperimentRunShown,
    FileList,
    FilesIn,
    Logged,
    LogIn,
    RunEndIn,
    RunOpenIn,
    RunSearchIn,
    SeriesIn,
    SeriesPage,
    SeriesPoint,
    WhichExperimentIn,
    WhichRunIn,
)

PARENT = "mlflow.parentRunId"


def listed(unit: Unit, body: ExperimentListIn) -> ExperimentPage:
    """Experiments, newest first."""
    reach.require(unit, "experiment.read")
    c = experiments.c
    key = list_key("experiments", q=body.q, state=body.state)
    last = decode_cursor(key, body.cursor)
    wanted = sa.select(experiments).order_by(c.id.desc()).limit(body.limit + 1)
    if body.state != "all":
        wanted = wanted.where(c.active == (body.state == "active"))
    if body.q:
        wanted = wanted.where(c.name.icontains(body.q, autoescape=True))
    rows = unit.execute(wanted.where(c.id < str(last[0])) if last is not None else wanted).all()
    items = [shown(row) for row in rows[: body.limit]]
    more = len(rows) > body.limit
    return ExperimentPage(items=items, next_cursor=encode_cursor(key, [items[-1].id]) if more else None)


def shown(row: keeping.Row) -> Experiment:
    """An experiment as it is told of."""
    return Experiment(
        id=row.id, name=row.name, project_id=row.project_id, tags=row.tags,
        state="active" if row.active else "deleted", created_by=row.created_by, created_at=row.created_at,
        updated_at=row.updated_at,
    )  # fmt: skip


def create(unit: Unit, body: ExperimentIn) -> Experiment:
    """A new experiment. Raises `conflict`, `not_found` for the project."""
    return shown(keeping.create(unit, body.name, tags=body.tags, project_id=body.project_id))


def show(unit: Unit, body: WhichExperimentIn) -> Experiment:
    """One experiment. Raises `not_found`."""
    return shown(keeping.show(unit, body.id))


def change(unit: Unit, body: ExperimentChangeIn) -> Experiment:
    """Rename it, put it away or get it back. Raises `not_found`, `conflict`."""
    row, _ = reach.experiment(unit, body.id, "experiment.write", gone=True)
    if body.state == "active" and not row.active:
        row = keeping.restore(unit, row.id)
    if body.name is not None and body.name != row.name:
        row = keeping.rename(unit, row.id, body.name)
    if body.state == "deleted" and row.active:
        row = keeping.delete(unit, row.id)
    return shown(row)


def open_(unit: Unit, body: RunOpenIn) -> ExperimentRun:
    """Begin a run that is carried out elsewhere. Raises `not_found`."""
    tags = body.tags | ({PARENT: body.parent_id} if body.parent_id is not None else {})
    made = runs.start(unit, body.id, name=body.name, started_at=body.started_at_ms, given=tags)
    if body.params:
        log(unit, made.row.id, params=body.params)
        made.parts |= runs.parts_of("params", body.params)
    return as_run(made)


def end(unit: Unit, body: RunEndIn) -> ExperimentRun:
    """Say what came of a run. Raises `not_found`."""
    row = runs.update(unit, body.id, status=body.status, ended_at=body.ended_at_ms)
    return as_run(runs.gathered(unit, [row])[0])


def log_(unit: Unit, body: LogIn) -> Logged:
    """Log to a run, all of it or nothing. Raises `not_found`, `validation_failed`, `conflict`."""
    now = reach.milliseconds(unit)
    points = [
        Point(p.key, float(p.value), p.at_ms if p.at_ms is not None else now, p.step) for p in body.metrics
    ]
    log(unit, body.id, metrics=points, params=body.params, tags=body.tags)
    return Logged(metrics=len(points), params=len(body.params), tags=len(body.tags))


def search(unit: Unit, body: RunSearchIn) -> ExperimentRunPage:
    """Runs of an experiment. Raises `not_found`, `validation_failed`."""
    row = keeping.show(unit, body.id)
    orders = tuple(part.strip() for part in body.order_by.split(",") if part.strip())
    asked = asking.Asked((row.id,), body.filter, orders, body.state, body.limit, body.cursor)
    found = asking.ask(unit, asked)
    parts = ("metrics", "params", "tags")
    items = [as_run(one) for one in runs.gathered(unit, found.rows, what=parts)]
    return ExperimentRunPage(items=items, next_cursor=found.token)


def show_run(unit: Unit, body: WhichRunIn) -> ExperimentRunShown:
    """One run. Raises `not_found`."""
    found = runs.show(unit, body.id)
    inputs = [
        ExperimentInput(
            name=one["dataset"]["name"], digest=one["dataset"]["digest"],
            tags={tag["key"]: tag["value"] for tag in one["tags"]},
        )
        for one in found.listed("inputs")
    ]  # fmt: skip
    made = [one["model_id"] for one in found.listed("output")]
    return ExperimentRunShown(
        **as_run(found).model_dump(), inputs=inputs, models=made, submitted=found.row.params
    )  # fmt: skip


def series(unit: Unit, body: SeriesIn) -> SeriesPage:
    """Points of one series. Raises `not_found`."""
    key = list_key("series", run=body.id, key=body.key)
    last = decode_cursor(key, body.cursor, 3)
    after = (int(last[0]), int(last[1]), float(last[2])) if last is not None else None
    rows = runs.history(unit, body.id, body.key, limit=body.limit + 1, after=after)
    kept = rows[: body.limit]
    token = None
    if len(rows) > len(kept):
        token = encode_cursor(key, [kept[-1].at, kept[-1].step, repr(kept[-1].value)])
    items = [SeriesPoint(step=row.step, at_ms=row.at, value=number(row.value)) for row in kept]
    return SeriesPage(key=body.key, items=items, next_cursor=token)


def listed_files(unit: Unit, body: FilesIn) -> FileList:
    """What lies in a folder of a run. Raises `not_found`, `invalid_path`."""
    found = files.listed(unit, body.id, body.path)
    items = [ExperimentFile(path=file.path, size=file.size, artifact_id=file.artifact_id) for file in found]
    return FileList(items=items)


def as_run(found: runs.Shown) -> ExperimentRun:
    """A run as it is told of."""
    row = found.row
    return ExperimentRun(
        id=row.id, experiment_id=row.experiment_id, name=row.name, status=row.status, external=row.external,
        dataset_ref=row.dataset_ref, code_sha=row.code_sha, runtime=row.runtime, run_id=row.run_id,
        is_sweep=row.sweep is not None, state="active" if row.active else "deleted",
        started_at_ms=row.started_at, ended_at_ms=row.ended_at,
        created_by=row.created_by, created_at=row.created_at,
        metrics=found.pairs("metrics"), params=found.pairs("params"), tags=found.pairs("tags"),
    )  # fmt: skip
