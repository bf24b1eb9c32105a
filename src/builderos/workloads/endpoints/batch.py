"""Batch scoring: a run that gives the rows of a dataset to a version of a model, in its jail, chunk by chunk."""

from typing import Any, Final

import sqlalchemy as sa

from builderos.assets.workspaces import service as workspaces
from builderos.core.ids import new_id
from builderos.core.operations import Reply
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.execution.compute import service as compute
from builderos.execution.runs import service as runs
from builderos.trust.audit import service as audit
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.workloads.datasets import service as datasets
from builderos.workloads.models import service as registry

from .batch_schema import ANSWER, HERE, Format, JobIn, JobListIn, ScoreIn, ScoringJob, ScoringJobList
from .model import scoring_jobs

ACTION: Final = "model.score"
STEP: Final = "score"
ROOM: Final = ".builderos-scoring"
COMMAND: Final = f"PYTHONPATH=./{ROOM} python3 -m scoring.batch ./{ROOM}"
_FORMS: Final[dict[str, Format]] = {
    ".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "jsonl",
}  # fmt: skip
_SLACK_S: Final = 60.0


def score(unit: Unit, body: ScoreIn) -> Reply[ScoringJob]:
    """Have a dataset scored; the job is `scheduled` when this returns.

    Raises what `locate` raises, `not_found` for model, version, dataset and file, `runtime_not_approved`,
    `budget_exceeded`, `validation_failed` where it is not said which file, or none of them is a table.
    """
    policy.require(unit, "registry.read", policy.org_resource(unit))
    place = workspaces.locate(unit, body, "run.start")
    model = registry.model_of(unit, body.name)
    version = registry.version_of(unit, model, body.version)
    if not version.files:
        raise Problem(
            "validation_failed", "this version has no files", hint="Register it from where its files are."
        )
    data = datasets.row_of(unit, body.dataset_ref)
    file = _file_of(data, body.file)
    runtime, _, profile = compute.runtime_of(unit, place.branch.repo_id, body.runtime, body.profile)
    compute.require_budget(unit, place.branch.repo_id, runtime, profile)
    if clash := {HERE, ANSWER} & set(body.carry):
        raise Problem(
            "validation_failed",
            f"the result has a column {min(clash)} of its own",
            hint="Carry other columns along.",
        )
    id_ = new_id("scj")
    step = runs.Step(
        STEP, 1, ACTION, run=COMMAND, runtime=runtime, profile=profile, timeout_s=body.timeout_s, deterministic=False,
        inputs={"job": id_},
    )  # fmt: skip
    definition = runs.Definition("scoring", "1.0.0", (step,), timeout_s=body.timeout_s + _SLACK_S)
    run_id = runs.begin(
        unit, definition, {}, place.branch, {"type": "manual", "by": unit.actor.id}, kind="scoring"
    )  # fmt: skip
    spec = {
        "format": body.format or _FORMS[_form(file)], "chunk_rows": body.chunk_rows, "columns": body.columns,
        "carry": body.carry, "register_as": body.register_as,
    }  # fmt: skip
    values: dict[str, Any] = {
        "id": id_, "org_id": unit.org_id, "version_id": version.id, "model": f"{model.name}@{version.number}",
        "dataset_id": data.id, "dataset": f"{data.name}@{data.version}", "file": file, "spec": spec, "run_id": run_id,
        "repo_id": place.branch.repo_id, "status": "scheduled",
        "rows_total": data.rows if len(data.files) == 1 else None, "rows_done": 0, "chunks_done": 0,
        "created_by": unit.actor.id, "created_at": unit.now,
    }  # fmt: skip
    row = unit.execute(sa.insert(scoring_jobs).values(values).returning(scoring_jobs)).one()
    audit.access.note(unit, "model.score", version.id)
    said = {"model": row.model, "dataset": row.dataset, "run_id": run_id, "repo": place.branch.repo_name}
    ledger.record(unit, "scoring.started", id_, said, rules=place.rules)
    return Reply(202, shown(row))


def show(unit: Unit, body: JobIn) -> ScoringJob:
    """One job: how far it is, and what came of it. Raises `not_found`."""
    policy.require(unit, "registry.read", policy.org_resource(unit))
    row = unit.execute(sa.select(scoring_jobs).where(scoring_jobs.c.id == body.id)).one_or_none()
    if row is None:
        raise Problem("not_found", "there is no such job", hint="List the scoring jobs first.")
    return shown(row)


def listed(unit: Unit, body: JobListIn) -> ScoringJobList:
    """Jobs, newest first."""
    policy.require(unit, "registry.read", policy.org_resource(unit))
    c = scoring_jobs.c
    key = list_key("scoring jobs", model=body.model, status=body.status)
    wanted = sa.select(scoring_jobs).order_by(c.id.desc()).limit(body.limit + 1)
    if body.model is not None:
        wanted = wanted.where(c.model.startswith(f"{body.model}@", autoescape=True))
    if body.status is not None:
        wanted = wanted.where(c.status == body.status)
    last = decode_cursor(key, body.cursor)
    if last is not None:
        wanted = wanted.where(c.id < str(last[0]))
    found = unit.execute(wanted).all()
    items = [shown(row) for row in found[: body.limit]]
    more = len(found) > body.limit
    return ScoringJobList(items=items, next_cursor=encode_cursor(key, [items[-1].id]) if more else None)


def shown(row: sa.Row[Any]) -> ScoringJob:
    """A job as it is told of."""
    return ScoringJob(
        id=row.id, model=row.model, dataset=row.dataset, file=row.file, format=row.spec["format"],
        chunk_rows=row.spec["chunk_rows"], run_id=row.run_id, status=row.status, rows_total=row.rows_total,
        rows_done=row.rows_done, chunks_done=row.chunks_done, artifact_id=row.artifact_id, result=row.result,
        error=row.error, created_by=row.created_by, created_at=row.created_at, started_at=row.started_at,
        ended_at=row.ended_at,
    )  # fmt: skip


def _file_of(data: Any, wanted: str | None) -> str:
    tables = [str(file["path"]) for file in data.files if _form(str(file["path"])) in _FORMS]
    if wanted is not None:
        if wanted not in {str(file["path"]) for file in data.files}:
            raise Problem("not_found", f"the dataset has no file {wanted[:200]}", hint="Show the dataset.")
        if wanted not in tables:
            raise _no_table(wanted[:200])
        return wanted
    if not tables:
        raise _no_table("a file of the dataset")
    if len(tables) > 1:
        raise Problem(
            "validation_failed",
            f"the dataset has {len(tables)} tables",
            hint=f"Say which with file, e.g. {tables[0]}.",
        )
    return tables[0]


def _no_table(what: str) -> Problem:
    return Problem(
        "validation_failed",
        f"{what} is no table",
        hint="Tables are .csv, .tsv, .jsonl, .ndjson and .parquet files.",
    )


def _form(path: str) -> str:
    name, dot, form = path.lower().rpartition(".")
    return f".{form}" if name and dot else ""
