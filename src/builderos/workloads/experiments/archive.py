"""What an exported experiment looks like: a zip with a document of each run and model, its points, its files, and a
manifest with the hash of everything.
"""

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

FORMAT: Final = "builderos.experiment"
MANIFEST: Final = "manifest.json"
MAX_RUNS: Final = 1000
MAX_ENTRIES: Final = 20_000
MAX_POINTS: Final = 1_000_000
MAX_DOCUMENT: Final = 16 * 1024 * 1024
MAX_BYTES: Final = 2 * 1024**3


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class Entry(_Strict):
    """A file of the zip."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0, le=MAX_BYTES)


class Manifest(_Strict):
    """`manifest.json`; it stands last. `runs` and `models` by the ids that they had."""

    format: Literal["builderos.experiment"]
    version: Literal[1]
    name: str
    tags: dict[str, str]
    runs: list[str] = Field(max_length=MAX_RUNS)
    models: list[str] = Field(max_length=MAX_RUNS * 10)
    files: dict[str, Entry] = Field(max_length=MAX_ENTRIES)


class InputDocument(_Strict):
    """Data that a run read."""

    name: str
    digest: str
    document: dict[str, Any]
    tags: dict[str, str]


class RunDocument(_Strict):
    """`runs/<id>.json`. Times are milliseconds since 1970 by the clock of the run's machine."""

    id: str
    name: str
    status: Literal["running", "scheduled", "finished", "failed", "killed"]
    started_at: int = Field(ge=-(2**63), lt=2**63)
    ended_at: int | None = Field(ge=-(2**63), lt=2**63)
    user_name: str
    submitted: dict[str, Any]
    dataset_ref: str | None
    code_sha: str | None
    runtime: str | None
    sweep: dict[str, Any] | None
    params: dict[str, str]
    tags: dict[str, str]
    inputs: list[InputDocument]
    used: list[tuple[str, int]]
    made: list[tuple[str, int]]


class ModelDocument(_Strict):
    """`models/<id>.json`: a model that was logged."""

    id: str
    run_id: str | None
    name: str
    type: str | None
    status: Literal["pending", "ready", "failed"]
    params: dict[str, str]
    tags: dict[str, str]
    metrics: list[dict[str, Any]]


PointLine = tuple[str, int, int, FiniteFloat | Literal["NaN", "Infinity", "-Infinity"]]
"""A line of `metrics/<id>.jsonl`: key, step, time, value."""
