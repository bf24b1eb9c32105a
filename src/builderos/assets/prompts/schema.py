"""The words of prompts: what is asked, what is answered."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from builderos.assets.workspaces.service import BranchIn, BranchWriteIn
from builderos.core.schema import In, Json, Line, Name, Out, Text, WriteIn

from .reading import MAX_CONTENT

MAX_PACK: Final = 8 * 1024 * 1024
Content = Annotated[Text, Field(description="The whole prompt file.", max_length=MAX_CONTENT)]
Ref = Annotated[
    Line,
    Field(
        description="name, or name@ with a version (1.2.0), a range (^1), latest, or a label (production)."
    ),
]
PromptName = Annotated[Name, Field(description="Name of the prompt.")]
Sources = Annotated[dict[str, Any], Field(description="Where it comes from: type, and the place.")]


class PromptError(Out):
    """One mistake. `line` and `column` count from 1, `where` is the place in the document, `code` is for programs."""

    line: int
    column: int
    where: str
    message: str
    hint: str
    code: str


class PromptChange(Out):
    """One difference. `level`: the number of the version that has to be raised for it."""

    field: str
    level: Literal["major", "minor", "patch"]
    why: str
    before: Any
    after: Any


class LintIn(In):
    """A prompt file to look over; nothing is kept."""

    content: Content
    name: Annotated[Name | None, Field(description="Name that the file's place says.")] = None


class LintOut(Out):
    """What a prompt file says, or every mistake in it.

    `since` is the version before it, `level` and `suggested_version` what its changes ask for.
    """

    valid: bool
    name: str | None
    version: str | None
    sha256: str | None
    errors: list[PromptError]
    warnings: list[str]
    since: str | None = None
    level: Literal["major", "minor", "patch"] | None = None
    suggested_version: str | None = None
    changes: list[PromptChange] = []


class PublishIn(BranchWriteIn):
    """A file, or the prompt that a branch has under `name`."""

    content: Annotated[Text | None, Field(description="The whole prompt file.", max_length=MAX_CONTENT)] = (
        None
    )
    name: Annotated[
        Name | None,
        Field(description="Name of the prompt; without content: that of prompts/<name>.yaml on the branch."),
    ] = None


class Published(Out):
    """A version that is there now. `state`: made by this call, or there before with the same content.

    `latest` is the version that the name alone means; it is another one while a gate has not passed.
    """

    id: str
    name: str
    version: str
    sha256: str
    state: Literal["published", "unchanged"]
    latest: str | None
    message: str


class Prompt(Out):
    """One version of a prompt. `id` is null where it is not in the registry: shipped, or on a branch."""

    id: str | None
    name: str
    version: str
    sha256: str
    changelog: str
    description: str
    tags: list[str]
    owner: str | None
    created_at: datetime | None
    source: Sources
    labels: list[str]
    latest: str | None
    spec_yaml: str
    template: str
    inputs: dict[str, Any]
    output_schema: dict[str, Any] | None
    partials: dict[str, str]
    model: dict[str, Any]


class PromptSummary(Out):
    """A prompt by its newest version."""

    id: str | None
    name: str
    version: str
    latest: str | None
    sha256: str
    changelog: str
    tags: list[str]
    owner: str | None
    created_at: datetime | None
    source: Sources
    versions: int


class ListIn(In):
    """Filters of the list."""

    name: Annotated[Line | None, Field(description="Only names that begin so.")] = None
    tag: Annotated[Name | None, Field(description="Only prompts whose newest version has this tag.")] = None
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class PromptList(Out):
    """One page, by name."""

    items: list[PromptSummary]
    next_cursor: str | None


class ShowIn(BranchIn):
    """Which prompt: of a branch where one is named, else of the registry, else the shipped one."""

    name: PromptName
    version: Annotated[
        Line | None,
        Field(description="A version (1.2.0), a range (^1), latest, or a label; latest by default."),
    ] = None


class VersionsIn(In):
    """Of which prompt."""

    name: PromptName
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class Version(Out):
    """One version in the history of a prompt. `gate`: what holds it back from being `latest`; empty where nothing."""

    version: str
    sha256: str
    changelog: str
    owner: str | None
    created_at: datetime | None
    labels: list[str]
    latest: bool
    gate: Literal["pass", "fail", "wait"]
    why: str


class Versions(Out):
    """One page, newest version first."""

    items: list[Version]
    next_cursor: str | None


class DiffIn(BranchIn):
    """Two versions of a prompt. With a branch, `to` is by default what stands there."""

    name: PromptName
    from_: Annotated[
        Line | None, Field(alias="from", description="The old side; by default the version before `to`.")
    ] = None
    to: Annotated[Line | None, Field(description="The new side; by default the newest version.")] = None


class SuiteDelta(Out):
    """How the two sides did in one suite; null where one was not tried. `delta`: share of cases, new minus old."""

    suite: str
    before: float | None
    after: float | None
    delta: float | None
    cases: int


class Diff(Out):
    """What differs. `text` compares the files, `template` what is sent, `changes` field by field."""

    name: str
    from_version: str
    to_version: str
    from_sha256: str
    to_sha256: str
    text: str
    template: str
    changes: list[PromptChange]
    level: Literal["major", "minor", "patch"]
    suggested_version: str
    evals: list[SuiteDelta]


class RenderIn(BranchIn):
    """A prompt and what to fill it with."""

    prompt: Ref
    inputs: Annotated[dict[Text, Json], Field(description="Value of each input.", max_length=100)] = {}


class Rendered(Out):
    """The text, and the exact version that it was made from."""

    name: str
    version: str
    sha256: str
    text: str
    model: dict[str, Any]
    output_schema: dict[str, Any] | None


class LabelIn(WriteIn):
    """A label and the version that it is to name."""

    name: PromptName
    label: Annotated[Name, Field(description="The label, e.g. production.")]
    version: Annotated[Line, Field(description="The version it names from now on; a range or latest, too.")]
    reason: Annotated[Line, Field(description="Why it moves; an approver reads it.")] = ""


class UnlabelIn(WriteIn):
    """A label to take away."""

    name: PromptName
    label: Annotated[Name, Field(description="The label.")]


class Labelled(Out):
    """Where a label stands. With `approval_id` it still stands where it stood."""

    name: str
    label: str
    version: str | None
    before: str | None
    approval_id: str | None = None
    message: str


class ExportIn(In):
    """Which prompts go into the pack."""

    prompts: Annotated[
        list[Ref], Field(description="Prompts by name and version.", min_length=1, max_length=200)
    ]
    name: Annotated[Name, Field(description="Name of the pack.")] = "prompts"
    version: Annotated[Line, Field(description="Version of the pack.")] = "1.0.0"


class ImportIn(WriteIn):
    """A pack, promptpack.zip."""

    content: Annotated[
        str, Field(description="The file in base64.", min_length=1, max_length=(MAX_PACK + 2) // 3 * 4)
    ]
    dry_run: Annotated[bool, Field(description="Only look it over.")] = False


class Imported(Out):
    """What a pack held: versions that are new here, and those that were there already, as name@version."""

    name: str
    version: str
    published: list[str]
    unchanged: list[str]
    message: str
