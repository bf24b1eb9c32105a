"""The words of sessions (SPEC §12)."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from builderos.assets.workspaces.service import BranchWriteIn
from builderos.core.schema import In, Line, Name, Out, Text, WriteIn

Kind = Literal["notebook", "shell"]
Editor = Literal["jupyter", "marimo"]
Status = Literal["starting", "running", "idle", "stopping", "stopped", "failed", "timed_out"]
OPEN: tuple[Status, ...] = ("starting", "running", "idle", "stopping")


class SessionStartIn(BranchWriteIn):
    """On which branch's files, in what, and how large."""

    project_id: Annotated[
        Line | None, Field(description="The project that the repository has to belong to.")
    ] = None
    kind: Annotated[Kind, Field(description="A notebook, or a shell alone.")] = "notebook"
    editor: Annotated[
        Editor, Field(description="What serves it: Jupyter, or marimo, whose notebooks are Python files.")
    ] = "jupyter"
    runtime: Annotated[Line, Field(description="An approved runtime; the first listed one when empty.")] = ""
    profile: Annotated[Line, Field(description="An approved profile; the first listed one when empty.")] = ""
    idle_timeout: Annotated[
        int, Field(ge=1, le=7 * 86_400, description="Seconds without work after which it is stopped.")
    ] = 1800
    endpoints: Annotated[
        list[Line],
        Field(
            max_length=50,
            description="Endpoints that it may call, by name, with what it finds in BUILDEROS_CALL_URL and _TOKEN.",
        ),
    ] = []
    models: Annotated[
        list[Line],
        Field(
            max_length=50, description="Models that it may ask there by OpenAI's interface, as it names them."
        ),
    ] = []


class SessionIn(In):
    """Which session."""

    id: Line


class SessionActIn(WriteIn):
    """Which session, and why."""

    id: Line
    reason: Annotated[Text, Field(description="Why; kept with the session.", max_length=500)] = ""


class SessionListIn(In):
    """Filters of the list."""

    repo_name: Name | None = None
    branch: Name | None = None
    status: Status | None = None
    kind: Kind | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: str | None = None


class SessionLogsIn(In):
    """Which session's log, and from which byte on."""

    id: Line
    offset: Annotated[int, Field(ge=0, description="First byte that is wanted.")] = 0
    limit: Annotated[int, Field(ge=1, le=262_144, description="Bytes, at most.")] = 65_536
    follow: Annotated[bool, Field(description="Go on while it grows, as Server-Sent Events.")] = False
    last_event_id: Annotated[Line | None, Field(description="Go on behind this event.")] = None


class SessionEventsIn(In):
    """Which events of which session."""

    id: Line
    stream: Annotated[
        bool, Field(description="Server-Sent Events until the session is over; false: one page as JSON.")
    ] = True
    limit: Annotated[int, Field(ge=1, le=200, description="Events of one page.")] = 50
    cursor: Annotated[str | None, Field(description="Of a page: where the one before it ended.")] = None
    last_event_id: Annotated[Line | None, Field(description="Go on behind this event.")] = None


class SessionEvent(Out):
    """Something that happened in a session; `seq` counts from 1 without gaps."""

    session_id: str
    seq: int
    at: str
    type: str
    payload: dict[str, Any]


class SessionEvents(Out):
    """One page, oldest first."""

    items: list[SessionEvent]
    next_cursor: str | None


class Resources(Out):
    """What a session uses now, and may use, all its processes together."""

    cpu_s: Annotated[float, Field(description="Seconds of processor since its start.")]
    wall_s: Annotated[float, Field(description="Seconds since its start.")]
    memory: Annotated[int, Field(description="Bytes.")]
    disk: Annotated[int, Field(description="Bytes of its folder, as it was looked through last.")]
    processes: int
    cpu_limit: Annotated[float, Field(description="Processors.")]
    memory_limit: int
    disk_limit: int
    processes_limit: int


class Session(Out):
    """A notebook or a shell on the files of a branch."""

    id: str
    project_id: str | None
    repo_name: str
    branch: str
    kind: Kind
    editor: Annotated[Editor, Field(description="What serves it.")]
    runtime: str
    profile: str
    status: Status
    reason: Annotated[str | None, Field(description="In a word, why it ended.")]
    detail: str
    idle_timeout: int
    endpoints: Annotated[list[str], Field(description="Endpoints that it may call.")]
    models: Annotated[list[str], Field(description="Models that it may ask.")]
    starts: Annotated[int, Field(description="How often it was started.")]
    url: Annotated[str | None, Field(description="Where it is while it runs; a token is needed there.")]
    checkpoint: Annotated[
        dict[str, Any] | None, Field(description="What was kept of its files at the last checkpoint.")
    ]
    logs_ref: str
    resources: Annotated[
        Resources | None, Field(description="What it uses now; where this server runs it.")
    ] = None
    usage: Annotated[dict[str, Any] | None, Field(description="What it used, in seconds and bytes.")]
    created_by: str
    created_at: datetime
    started_at: datetime | None
    last_active_at: Annotated[
        datetime | None, Field(description="When a kernel or a terminal last did something.")
    ]
    ended_at: datetime | None


class SessionList(Out):
    """One page, newest first."""

    items: list[Session]
    next_cursor: str | None


class SessionToken(Out):
    """The way into a session, for a quarter of an hour."""

    id: str
    token: Annotated[
        str, Field(description="For the header Authorization: Bearer, at the session's address.")
    ]
    url: Annotated[str, Field(description="For a browser, once.")]
    expires_at: datetime


class SessionLogs(Out):
    """A piece of what a session's server printed, secrets redacted."""

    id: str
    text: str
    offset: int
    next_offset: Annotated[int, Field(description="Where the following piece begins.")]
    size: int
