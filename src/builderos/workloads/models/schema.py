"""The words of the registry of models."""

import re
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, StringConstraints

from builderos.core.schema import In, Line, Out, Text, WriteIn

Stage = Literal["registered", "staged", "production", "retired"]
PromotionKind = Literal["run_to_model", "stage_to_prod", "sandbox_to_pr"]
PromotionState = Literal["requested", "approved", "denied", "applied", "rolled_back"]
_VERSION: Final = re.compile(r"[vV]\d+|latest")


def _no_version(text: str) -> str:
    """An alias that reads like a version would be taken for one."""
    if _VERSION.fullmatch(text):
        raise ValueError("must not read like a version")
    return text


ModelName = Annotated[str, StringConstraints(min_length=1, max_length=250, pattern=r"^[^/:\x00-\x1f\x7f@]+$")]
Alias = Annotated[
    str,
    StringConstraints(min_length=1, max_length=250, pattern=r"^[A-Za-z0-9_-]+$"),
    AfterValidator(_no_version),
]
TagKey = Annotated[str, StringConstraints(min_length=1, max_length=250, pattern=r"^[/A-Za-z0-9_. :-]+$")]
TagValue = Annotated[Text, Field(max_length=100_000)]
Tags = Annotated[dict[TagKey, TagValue], Field(max_length=100)]
MAX_FILES: Final = 1000


class WhichModelIn(In):
    """Which model, by name."""

    name: ModelName


class WhichModelWriteIn(WriteIn):
    """Which model, by name."""

    name: ModelName


class WhichVersionIn(In):
    """Which version of which model."""

    name: ModelName
    version: Annotated[int, Field(ge=1, description="Number of the version; they count from 1.")]


class WhichVersionWriteIn(WriteIn):
    """Which version of which model."""

    name: ModelName
    version: Annotated[int, Field(ge=1, description="Number of the version; they count from 1.")]


class RegisterModelIn(WriteIn):
    """A new model."""

    name: Annotated[ModelName, Field(description="What it is called; no slash, colon or @.")]
    description: Annotated[Text, Field(max_length=10_000)] = ""
    tags: Tags = {}


class ChangeModelIn(WhichModelWriteIn):
    """What is left out stays as it is."""

    new_name: Annotated[ModelName | None, Field(description="Call it this from now on.")] = None
    description: Annotated[Text | None, Field(max_length=10_000)] = None


class ListModelsIn(In):
    """Filters of the list."""

    like: Annotated[Line | None, Field(description="Name, with % for anything.")] = None
    ignore_case: Annotated[bool, Field(description="Whether `like` ignores case.")] = False
    tag: Annotated[Line | None, Field(description="Only with this tag: key=value.")] = None
    limit: int = Field(50, ge=1, le=1000)
    cursor: str | None = None


class CreateVersionIn(WhichModelWriteIn):
    """Where a new version comes from: a folder of a run, a logged model, or artifacts."""

    source: Annotated[
        Line,
        Field(description="runs:/<run id>/<folder>, models:/<logged model id>, or empty with artifacts."),
    ] = ""
    run_id: Annotated[Line | None, Field(description="Run that made it.")] = None
    artifacts: Annotated[
        list[Line], Field(max_length=MAX_FILES, description="Artifacts that are its files, at their paths.")
    ] = []
    description: Annotated[Text, Field(max_length=10_000)] = ""
    tags: Tags = {}


class ChangeVersionIn(WhichVersionWriteIn):
    """What a version says of itself."""

    description: Annotated[Text, Field(max_length=10_000)]


class ListVersionsIn(In):
    """Filters of the list."""

    name: Annotated[ModelName | None, Field(description="Only of this model.")] = None
    run_id: Annotated[Line | None, Field(description="Only from this run.")] = None
    stage: Annotated[Stage | None, Field(description="Only those that stand so.")] = None
    limit: int = Field(50, ge=1, le=1000)
    cursor: str | None = None


class TransitionIn(WhichVersionWriteIn):
    """Where a version is to stand. Into production it comes with an approval alone."""

    stage: Stage
    reason: Annotated[Text, Field(max_length=2000, description="Why; whoever approves reads it.")] = ""


class AliasIn(In):
    """Which alias of which model."""

    name: ModelName
    alias: Line


class SetAliasIn(WhichVersionWriteIn):
    """A name for a version, which can move to another one."""

    alias: Alias


class DeleteAliasIn(WhichModelWriteIn):
    """Which alias of which model."""

    alias: Line


class SetTagIn(WhichModelWriteIn):
    """A tag of a model, or of one of its versions."""

    version: Annotated[int | None, Field(ge=1, description="Of this version; left out: of the model.")] = None
    key: TagKey
    value: TagValue


class DeleteTagIn(WhichModelWriteIn):
    """Which tag."""

    version: Annotated[int | None, Field(ge=1, description="Of this version; left out: of the model.")] = None
    key: TagKey


class ModelFile(Out):
    """One file of a version, as it was when the version was made."""

    path: str
    artifact_id: str
    size: int
    sha256: str


class ModelVersion(Out):
    """One version. Its files never change."""

    id: str
    name: str
    version: int
    stage: Stage
    status: Literal["READY"]
    source: str
    run_id: str | None
    digest: Annotated[str, Field(description="sha256: over paths and hashes of all files.")]
    files: list[ModelFile]
    aliases: list[str]
    tags: dict[str, str]
    description: str
    created_by: str
    created_at: datetime
    updated_at: datetime


class Model(Out):
    """A model. `latest`: its newest version; `production`: the one that is let into production."""

    id: str
    name: str
    description: str
    tags: dict[str, str]
    aliases: dict[str, int]
    latest: int | None
    production: int | None
    created_by: str
    created_at: datetime
    updated_at: datetime


class ModelList(Out):
    """One page, by name."""

    items: list[Model]
    next_cursor: str | None


class ModelVersionList(Out):
    """One page, newest first."""

    items: list[ModelVersion]
    next_cursor: str | None


class ModelGone(Out):
    """It is there no longer."""

    name: str
    version: int | None
    message: str


class PromoteModelIn(WriteIn):
    """What is to go where. `from`: `{run_id, path}` of a run, `{name, version}` of a model, or `{repo_name, branch}`.

    `to`: `{name}` of a model for a run; `{target}` for a branch, main by default.
    """

    kind: PromotionKind
    from_: Annotated[dict[str, Line | int], Field(alias="from", max_length=10, description="What goes.")]
    to: Annotated[dict[str, Line | int], Field(max_length=10, description="Where it goes.")] = {}
    reason: Annotated[Text, Field(max_length=2000, description="Why; whoever approves reads it.")] = ""


class WhichPromotionIn(In):
    """Which promotion."""

    id: Line


class RollBackPromotionIn(WriteIn):
    """Which promotion, and why it is taken back."""

    id: Line
    reason: Annotated[Text, Field(max_length=2000, description="Why; kept with it.")] = ""


class ListPromotionsIn(In):
    """Filters of the list."""

    kind: PromotionKind | None = None
    state: PromotionState | None = None
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class Promotion(Out):
    """A way up: what was asked for, what was shown for it, how it stands."""

    id: str
    kind: PromotionKind
    state: PromotionState
    from_: Annotated[dict[str, Any], Field(serialization_alias="from", validation_alias="from")]
    to: dict[str, Any]
    shown: Annotated[dict[str, Any], Field(description="Metrics side by side, evals, lineage.")]
    reason: str
    approval_id: str | None
    result: Annotated[dict[str, Any], Field(description="What came of it, e.g. the version or the pull.")]
    requested_by: str
    created_at: datetime
    updated_at: datetime


class PromotionList(Out):
    """One page, newest first."""

    items: list[Promotion]
    next_cursor: str | None
