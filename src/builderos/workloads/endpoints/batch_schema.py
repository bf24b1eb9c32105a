"""The words of batch scoring."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from builderos.assets.workspaces.service import BranchWriteIn
from builderos.core.schema import In, Line, Name, Out
from builderos.workloads.datasets.schema import DatasetName
from builderos.workloads.models.schema import ModelName

JobStatus = Literal["scheduled", "running", "finished", "failed", "cancelled"]
Format = Literal["csv", "jsonl"]
Columns = Annotated[list[Name], Field(max_length=2000)]
HERE = "row"
ANSWER = "prediction"


class ScoreIn(BranchWriteIn):
    """Which version scores which table, and what becomes of the answers."""

    name: Annotated[ModelName, Field(description="The model.")]
    version: Annotated[int, Field(ge=1, description="Number of its version.")]
    dataset_ref: Annotated[Line, Field(description="Dataset that is scored: name@version.", min_length=1)]
    file: Annotated[
        Line | None,
        Field(description="Which of its files: .csv, .tsv, .jsonl or .parquet; needed where several are."),
    ] = None
    columns: Annotated[
        Columns, Field(description="Columns that the model is given, where it does not say which itself.")
    ] = []
    carry: Annotated[
        Columns, Field(description="Columns that stand beside the answers in the result, e.g. an id.")
    ] = []
    format: Annotated[
        Format | None, Field(description="Of the result; left out: csv for .csv and .tsv, else jsonl.")
    ] = None
    chunk_rows: Annotated[
        int, Field(ge=1, le=100_000, description="Rows that are scored, and kept, at a time.")
    ] = 1000
    register_as: Annotated[
        DatasetName | None, Field(description="Register the result as the next version of this dataset, too.")
    ] = None
    runtime: Annotated[Line, Field(description="An approved runtime that brings what the model needs.")] = ""
    profile: Annotated[
        Line, Field(description="How much it may use; the first that is approved without.")
    ] = ""
    timeout_s: Annotated[float, Field(gt=0, le=7 * 86400, description="Longer it does not run.")] = 3600.0


class JobIn(In):
    """Which job."""

    id: Line


class JobListIn(In):
    """Filters of the list."""

    model: Annotated[ModelName | None, Field(description="Only those of this model.")] = None
    status: JobStatus | None = None
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class JobError(Out):
    """Why a job did not come to a good end; row (from 1, without the header) and column where they are known."""

    message: str
    row: int | None = None
    column: str | None = None


class ScoringJob(Out):
    """A table that a model scores. `run_id` carries it out: that is cancelled, and run again to go on with the chunks
    that are missing.
    """

    id: str
    model: Annotated[str, Field(description="name@version.")]
    dataset: Annotated[str, Field(description="name@version.")]
    file: str
    format: Format
    chunk_rows: int
    run_id: str
    status: JobStatus
    rows_total: int | None
    rows_done: int
    chunks_done: int
    artifact_id: Annotated[
        str | None, Field(description="The result: row, what was carried along, prediction.")
    ]
    result: Annotated[str | None, Field(description="The dataset that it became.")]
    error: JobError | None
    created_by: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class ScoringJobList(Out):
    """One page, newest first."""

    items: list[ScoringJob]
    next_cursor: str | None
