"""The words of evals: what is asked, what is answered."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from builderos.assets.workspaces.service import BranchWriteIn
from builderos.core.schema import In, Line, Name, Out, Text

SuiteName = Annotated[Name, Field(description="Name of the suite: that of evals/<suite>.yaml.")]
Verdict = Literal["pass", "fail"]


class RunIn(BranchWriteIn):
    """Which suite to try, of which branch, on what."""

    suite: SuiteName
    prompt: Annotated[Line | None, Field(description="Another version to try, e.g. planner@1.3.0.")] = None
    baseline: Annotated[
        Line | None,
        Field(description="Version or run to compare with; `none`; by default the version before."),
    ] = None
    repeats: Annotated[int | None, Field(description="How often each case is tried.", ge=1, le=100)] = None
    models: Annotated[list[Line], Field(description="Other models to try, by name.", max_length=20)] = []


class RunOut(Out):
    """A run that was accepted."""

    run_id: str
    suite: str
    message: str


class LintIn(In):
    """A suite to look over; nothing is kept."""

    content: Annotated[Text, Field(description="The whole file.", max_length=4 * 1024 * 1024)]
    suite: SuiteName = "suite"
    files: Annotated[
        dict[Name, Text],
        Field(description="Files that it names: path from its folder → text.", max_length=50),
    ] = {}


class LintError(Out):
    """One mistake, or something that is not supported. `line` and `column` count from 1."""

    line: int
    column: int
    where: str
    message: str
    hint: str
    code: str


class LintOut(Out):
    """What a suite says, or every mistake in it. `tries`: answers that one run asks for."""

    valid: bool
    format: Literal["suite", "promptfoo"] | None
    cases: int
    tries: int
    errors: list[LintError]


class ListIn(In):
    """Filters of the list."""

    suite: Annotated[Line | None, Field(description="Only this suite.")] = None
    prompt: Annotated[Line | None, Field(description="Only results on this prompt, by name.")] = None
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class Result(Out):
    """One result. `counts`: gates of prompts listen to it."""

    id: str
    suite: str
    prompt: str | None
    version: str | None
    run_id: str
    repo_name: str
    branch: str
    counts: bool
    verdict: Verdict
    pass_rate: float
    cases: int
    regressions: int
    flaky: int
    created_by: str
    created_at: datetime


class ResultList(Out):
    """One page, newest first."""

    items: list[Result]
    next_cursor: str | None


class ShowIn(In):
    """Which result of a suite: the newest one that you may see, or that of a version or run."""

    suite: SuiteName
    version: Annotated[Line | None, Field(description="Version of the prompt.")] = None
    run_id: Annotated[Line | None, Field(description="The run that tried it.")] = None
    format: Annotated[
        Literal["json", "junit", "markdown"], Field(description="junit, markdown: the same in `text`, too.")
    ] = "json"


class Shown(Out):
    """A result with its document, the results file; `text` in the form that was asked for."""

    result: Result
    document: dict[str, Any]
    text: str | None
