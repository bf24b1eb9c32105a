"""Words of the artifacts API."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from builderos.core.schema import In, Instant, Line, Out, Text, WriteIn

Sha256 = Annotated[str, StringConstraints(pattern=r"^(sha256:)?[0-9a-f]{64}$")]
Type = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,39}$")]
MediaType = Annotated[
    Line | None, Field(description="Media type; guessed from name and content when left out.")
]
Path = Annotated[
    Text, Field(min_length=1, max_length=4096, description="Where it belongs, e.g. reports/junit.xml.")
]
Redaction = Literal["all", "known", "off"]


class Artifact(Out):
    """Something that was kept. Its content never changes; `gone_at` says since when it may be gone."""

    id: str
    run_id: str | None
    step_id: str | None
    path: str
    type: str
    hash: Annotated[str, Field(description="sha256: and the hash of the content.")]
    size: int
    media_type: str
    redacted: Annotated[bool, Field(description="Secrets were taken out before it was kept.")]
    created_by: str
    created_by_prompt: str | None
    created_by_agent: str | None
    created_at: datetime
    expires_at: Annotated[datetime | None, Field(description="By the terms that hold now; null: it is kept.")]
    gone_at: datetime | None
    gone_why: Literal["expired", "deleted"] | None


class ArtifactPage(Out):
    """One page, newest first."""

    items: list[Artifact]
    next_cursor: str | None


class ListIn(In):
    """Filters."""

    run_id: Annotated[Line | None, Field(description="Run that kept them.")] = None
    path: Annotated[Text | None, Field(description="Path, exactly.", max_length=4096)] = None
    gone: Annotated[bool, Field(description="Show those, too, whose content is gone.")] = False
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class WhichIn(In):
    """Which one."""

    id: Line


class DeleteIn(WriteIn):
    """Which one."""

    id: Line


class UploadIn(WriteIn):
    """What is going to be sent."""

    path: Path
    size: Annotated[int, Field(ge=0, description="Bytes in all.")]
    sha256: Annotated[Sha256, Field(description="Hash of all bytes; what arrives must have it.")]
    run_id: Annotated[Line | None, Field(description="Run that it belongs to.")] = None
    media_type: MediaType = None
    type: Annotated[Type, Field(description="What it is for, e.g. report, model, file.")] = "file"
    expires_at: Annotated[Instant | None, Field(description="Not kept any longer than this.")] = None


class Upload(Out):
    """An upload that goes on: send the bytes from `offset` on. Once all are there, `artifact` is what became of it."""

    id: str
    path: str
    size: int
    offset: int
    max_part: Annotated[int, Field(description="Bytes that one request may bring.")]
    expires_at: datetime
    artifact: Artifact | None = None


class UploadGone(Out):
    """An upload that has ended."""

    id: str
    message: str


class Terms(Out):
    """For how long artifacts are kept; null: as the organisation has it, or for ever."""

    pipeline: str | None
    keep_days: int | None


class Rules(Out):
    """Terms and limits, and how much of the space is used."""

    keep_days: int | None
    pipelines: list[Terms]
    redact: Redaction
    max_bytes: int
    used_bytes: int


class RulesIn(In):
    """Nothing to say."""


class SetRulesIn(WriteIn):
    """What is left out stays as it is; null sets it back."""

    pipeline: Annotated[Line | None, Field(description="Only of this pipeline; only keep_days then.")] = None
    keep_days: Annotated[
        int | None, Field(ge=0, le=36_500, description="Days; 0 or null: not limited here.")
    ] = None
    redact: Annotated[
        Redaction | None, Field(description="From texts: all credentials, known secrets alone, or nothing.")
    ] = None
    max_bytes: Annotated[int | None, Field(ge=0, description="Space; not more than the server allows.")] = (
        None
    )


class MoveIn(WriteIn):
    """Where all content is to lie from now on."""

    to: Annotated[Line, Field(min_length=1, description="folder, or s3://bucket/prefix?endpoint=…&region=….")]


class Moved(Out):
    """How far it got: call again until `left` is 0."""

    to: str
    moved: int
    moved_bytes: int
    left: int
    faults: list[str]
    message: str
