"""The words of apps (SPEC §12)."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from builderos.core.schema import In, Line, Name, Out, Sha, Text, WriteIn

Type = Literal["streamlit", "flask", "nextjs", "static", "custom"]
Status = Literal["building", "starting", "live", "failed", "superseded", "rolled_back", "stopped"]
Open = Literal["org", "public"]

AppName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
# No name in it begins with a dot, so nothing climbs and nothing hidden is served.
SourcePath = Annotated[
    str,
    StringConstraints(pattern=r"^$|^[A-Za-z0-9_][A-Za-z0-9_. -]{0,100}(/[A-Za-z0-9_][A-Za-z0-9_. -]{0,100}){0,20}$"),
]  # fmt: skip
ModuleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]
BasePath = Annotated[
    str, StringConstraints(pattern=r"^$|^(/[A-Za-z0-9_][A-Za-z0-9_.~-]{0,100}){1,5}$", max_length=300)
]
Command = Annotated[Text, Field(max_length=4000)]
HealthPath = Annotated[str, StringConstraints(pattern=r"^/[!-~]{0,500}$")]


class Source(In):
    """Where an app lies in a repository."""

    repo_name: Name
    branch: Annotated[Name, Field(description="Branch whose tip is released where a release names none.")] = (
        "main"
    )
    path: Annotated[
        SourcePath,
        Field(
            description="streamlit, flask: the file, e.g. app.py; nextjs: where package.json is; static: the folder."
        ),
    ] = ""
    object: Annotated[
        ModuleName, Field(description="flask: the application in that file, WSGI or ASGI.")
    ] = "app"  # fmt: skip


class Health(In):
    """How an app says that it is well."""

    path: Annotated[HealthPath, Field(description="Path that is asked, below base_path.")] = "/"
    status: Annotated[int, Field(ge=100, le=599, description="What it has to answer.")] = 200
    within_s: Annotated[
        int, Field(ge=1, le=600, description="Seconds that a release has to become so.")
    ] = 60  # fmt: skip
    restart: Annotated[
        bool,
        Field(description="End it and start it again where it does not answer at all, three looks in a row."),
    ] = True


class OpenPolicy(In):
    """Who may open an app."""

    open: Annotated[
        Open, Field(description="org: members and keys that the policy lets; public: whoever reaches the door.")
    ] = "org"  # fmt: skip
    roles: Annotated[
        list[Line], Field(max_length=20, description="Of org, these roles alone; none: all.")
    ] = []
    actors: Annotated[
        list[Line], Field(max_length=200, description="Of org, these members and keys alone; none: all.")
    ] = []  # fmt: skip


class _Settings(In):
    """What an app is started with. All of it but the policy and the timeout counts from the next release on."""

    command: Annotated[
        Command | None, Field(description="What is started instead of what its type says; listens on $PORT.")
    ] = None
    build: Annotated[Command | None, Field(description="Command that is run in the files first.")] = None
    runtime: Annotated[Line | None, Field(description="An approved runtime; the first one when empty.")] = (
        None
    )
    profile: Annotated[Line | None, Field(description="An approved profile; the first one when empty.")] = (
        None
    )
    env: Annotated[
        dict[Variable, Annotated[Text, Field(max_length=4000)]] | None,
        Field(max_length=100, description="Variables, no secrets."),
    ] = None
    secrets: Annotated[
        list[Variable] | None,
        Field(
            max_length=32, description="Names of secrets that it gets as variables, where the policy lets it."
        ),
    ] = None
    network: Annotated[
        list[Line] | None,
        Field(max_length=50, description="Hosts that it may reach, where the policy lets it."),
    ] = None
    endpoints: Annotated[
        list[Line] | None,
        Field(
            max_length=50,
            description="Endpoints that it may call, by name, with what it finds in BUILDEROS_CALL_URL and _TOKEN.",
        ),
    ] = None
    models: Annotated[
        list[Line] | None,
        Field(
            max_length=50, description="Models that it may ask there by OpenAI's interface, as it names them."
        ),
    ] = None
    health: Health | None = None
    base_path: Annotated[
        BasePath | None, Field(description="Path of its address below which it is served, e.g. /sales.")
    ] = None
    policy: OpenPolicy | None = None
    idle_timeout: Annotated[
        int | None,
        Field(ge=0, le=7 * 86_400, description="Seconds without a request after which it sleeps; 0: never."),
    ] = None


class AppCreateIn(WriteIn, _Settings):
    """A new app. Nothing is served before its first release."""

    name: Annotated[AppName, Field(description="What it is called, e.g. sales.")]
    type: Type
    source: Source


class AppChangeIn(WriteIn, _Settings):
    """Which app, and what is to be otherwise; what is left out stays."""

    id: Line
    source: Source | None = None


class AppIn(In):
    """Which app, by id or name."""

    id: Line


class AppActIn(WriteIn):
    """Which app, by id or name."""

    id: Line


class OpenIn(WriteIn):
    """Which app, by id or name, and where in it."""

    id: Line
    path: Annotated[HealthPath, Field(description="Path that the browser goes to, below base_path.")] = "/"


class AppListIn(In):
    """Filters of the list."""

    type: Type | None = None
    stopped: Annotated[bool, Field(description="Show those that were stopped, too.")] = True
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: str | None = None


class ReleaseIn(WriteIn):
    """What of which app is to be served next."""

    id: Line
    branch: Annotated[Name | None, Field(description="The app's own branch when left out.")] = None
    commit_sha: Annotated[
        Sha | None, Field(description="A commit of that branch; its tip when left out.")
    ] = None  # fmt: skip


class RollbackIn(WriteIn):
    """Which app, and which release is to come back."""

    id: Line
    to: Annotated[
        Line | None, Field(description="Id of a release that was live; the one before when left out.")
    ] = None
    reason: Annotated[Text, Field(max_length=500)] = ""


class ReleaseListIn(In):
    """Which app."""

    id: Line
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: str | None = None


class AppLogsIn(In):
    """Which log of which release, and from which byte on."""

    id: Line
    release: Annotated[Line | None, Field(description="Id of the release; the newest when left out.")] = None
    of: Annotated[Literal["build", "process"], Field(description="Of its build, or of its process.")] = (
        "process"
    )
    start: Annotated[
        int | None, Field(ge=1, description="Which start of the process; the last one when left out.")
    ] = None  # fmt: skip
    offset: Annotated[int, Field(ge=0, description="First byte that is wanted.")] = 0
    limit: Annotated[int, Field(ge=1, le=262_144, description="Bytes, at most.")] = 65_536


class AppRelease(Out):
    """A commit as an app. `starting` until it is well, then `live`; one that never is leaves the one before."""

    id: str
    app_id: str
    number: int
    branch: str
    commit_sha: str
    status: Status
    reason: Annotated[str | None, Field(description="In a word, why it failed or ended.")]
    detail: str
    starts: Annotated[int, Field(description="How often its process was started.")]
    crashes: Annotated[int, Field(description="How often that ended by itself.")]
    replaces: Annotated[str | None, Field(description="The release that was live before it.")]
    created_by: str
    created_at: datetime
    live_at: datetime | None
    ended_at: datetime | None


class App(Out):
    """An app with what it is made of, and what of it is live."""

    id: str
    name: str
    type: Type
    source: Source
    command: Annotated[str, Field(description="What is started; empty where files are served.")]
    build: str
    runtime: str
    profile: str
    env: dict[str, str]
    secrets: list[str]
    network: list[str]
    endpoints: list[str]
    models: list[str]
    health: Health
    base_path: str
    policy: OpenPolicy
    idle_timeout: int
    state: Literal["active", "stopped", "deleted"]
    standing: Annotated[
        Literal["new", "awake", "asleep", "failing", "stopped"],
        Field(description="Whether it answers: new has no release that is live, failing tries again."),
    ]
    url: Annotated[
        str | None, Field(description="Where it is; null where apps have no addresses of their own.")
    ]
    current: Annotated[AppRelease | None, Field(description="The release that is live.")]
    latest: Annotated[AppRelease | None, Field(description="The newest release, whatever became of it.")]
    created_by: str
    created_at: datetime
    updated_at: datetime


class AppList(Out):
    """One page, newest first."""

    items: list[App]
    next_cursor: str | None


class ReleaseList(Out):
    """One page, newest first."""

    items: list[AppRelease]
    next_cursor: str | None


class AppToken(Out):
    """The way into an app, for a quarter of an hour."""

    id: str
    token: Annotated[str, Field(description="For the header Authorization: Bearer, at the app's address.")]
    url: Annotated[str, Field(description="For a browser, once.")]
    expires_at: datetime


class AppLogs(Out):
    """A piece of what a release printed, secrets redacted."""

    id: str
    release: str
    start: int
    text: str
    offset: int
    next_offset: Annotated[int, Field(description="Where the following piece begins.")]
    size: int
