"""The words of datasets."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints

from builderos.assets.workspaces.service import BranchWriteIn
from builderos.core.schema import In, Line, Out, Text

Kind = Literal["file", "folder", "table"]
DatasetName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,99}$")]
FilePath = Annotated[Text, Field(min_length=1, max_length=4096)]
MAX_FILES: Final = 2000
Ref = Annotated[
    Line, Field(description="Id of a version, or name@version; a name alone is its newest version.")
]


class RegisterIn(BranchWriteIn):
    """What becomes a version: artifacts, what a run kept, files of a branch (`repo_name`, `branch`), or a URL."""

    name: Annotated[DatasetName, Field(description="What it is called, e.g. iris.")]
    kind: Annotated[
        Kind | None, Field(description="Left out: a table where it is one file of a table's form.")
    ] = None
    artifacts: Annotated[
        list[Line], Field(max_length=MAX_FILES, description="Artifacts that are its files, by id.")
    ] = []
    run_id: Annotated[Line | None, Field(description="Run whose artifacts are its files.")] = None
    paths: Annotated[
        list[FilePath],
        Field(max_length=200, description="Files and folders of the branch, or of what the run kept."),
    ] = []
    commit: Annotated[
        Line | None,
        Field(description="Commit of the branch, or of main, to take them from; left out: where it stands."),
    ] = None
    url: Annotated[
        Line | None,
        Field(description="Address of one file, on a host that the policy of the repository lets you reach."),
    ] = None
    description: Annotated[Text, Field(max_length=10_000, description="What it is, and whence.")] = ""


class WhichIn(In):
    """Which version."""

    id: Ref


class ReadIn(In):
    """Which file of which version."""

    id: Ref
    path: Annotated[
        Text | None, Field(max_length=4096, description="Which file; needed where there are more.")
    ] = None


class ListIn(In):
    """Filters of the list."""

    name: Annotated[
        DatasetName | None, Field(description="Versions of this one; else the newest of each.")
    ] = None
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class DatasetFile(Out):
    """One file of a version."""

    path: str
    artifact_id: str
    size: int
    sha256: str


class Column(Out):
    """A column of a table, as its form says it."""

    name: str
    type: Literal["number", "text"]


class Dataset(Out):
    """A version of a dataset. Its content never changes; `digest` is the hash over paths and hashes of its files."""

    id: str
    name: str
    version: int
    ref: Annotated[str, Field(description="name@version.")]
    kind: Kind
    digest: str
    size: int
    files: list[DatasetFile]
    columns: list[Column] | None
    rows: int | None
    description: str
    source: dict[str, Any]
    created_by: str
    created_at: datetime


class DatasetSummary(Out):
    """A version in a list."""

    id: str
    ref: str
    name: str
    version: int
    kind: Kind
    digest: str
    size: int
    count: Annotated[int, Field(description="Files.")]
    description: str
    created_by: str
    created_at: datetime


class DatasetList(Out):
    """One page, newest first."""

    items: list[DatasetSummary]
    next_cursor: str | None
