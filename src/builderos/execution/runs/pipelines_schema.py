"""The words of pipelines."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from builderos.assets.workspaces.service import BranchIn, BranchWriteIn
from builderos.core.schema import In, Json, Line, Name, Out, Text

MAX_CONTENT = 1024 * 1024
Content = Annotated[Text, Field(description="The whole pipeline file.", max_length=MAX_CONTENT)]


class PipelineValidateIn(In):
    """A pipeline file to look over; nothing is kept."""

    content: Content
    name: Annotated[
        Name | None, Field(description="Name of the folder that the file lies in: ship/<name>/pipeline.yaml.")
    ] = None
    params: Annotated[
        dict[Text, Json] | None, Field(description="Unfold it with these params, too, as a run would.")
    ] = None


class PipelineError(Out):
    """One mistake. `line` and `column` count from 1, `where` is the place in the document, `code` is for programs."""

    line: int
    column: int
    where: str
    message: str
    hint: str
    code: str


class PipelineCheck(Out):
    """What a pipeline file says, or every mistake in it."""

    valid: bool
    name: str | None
    version: str | None
    digest: str | None
    steps: int
    nodes: int | None
    errors: list[PipelineError]


class PipelinePublishIn(BranchWriteIn):
    """A file, or the pipeline that a branch has under `name`."""

    content: Annotated[Text | None, Field(description="The whole pipeline file.", max_length=MAX_CONTENT)] = (
        None
    )
    name: Annotated[
        Name | None,
        Field(
            description="Name of the pipeline; without content: that of ship/<name>/pipeline.yaml on the branch."
        ),
    ] = None


class PipelineSummary(Out):
    """A pipeline by its newest version. `source`: an upload, a commit, or shipped with BuilderOS."""

    id: str | None
    name: str
    version: str
    digest: str
    description: str
    source: dict[str, Any]
    published_by: str | None
    created_at: datetime | None
    versions: int


class PipelineListIn(In):
    """Filters of the list."""

    name: Annotated[Line | None, Field(description="Only names that begin so.")] = None
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class PipelineList(Out):
    """One page, by name."""

    items: list[PipelineSummary]
    next_cursor: str | None


class PipelineIn(BranchIn):
    """Which pipeline: that of a branch where one is named, else the published or the shipped one."""

    name: Name
    version: Annotated[Line | None, Field(description="A version, e.g. 1.2.0; the newest by default.")] = None


class PipelineOut(Out):
    """A pipeline with its file."""

    id: str | None
    name: str
    version: str
    digest: str
    description: str
    source: dict[str, Any]
    published_by: str | None
    created_at: datetime | None
    content: str
    steps: list[dict[str, Any]]
    triggers: list[dict[str, Any]]
    params: list[dict[str, Any]]
    versions: list[str]


class PipelinePublished(Out):
    """A version that is there now. `state`: made by this call, or there before with the same content."""

    id: str
    name: str
    version: str
    digest: str
    state: Literal["published", "unchanged"]
    message: str
