"""The words of endpoints."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints, ValidationError, model_validator

from builderos.core.schema import In, Line, Out, WriteIn

Environment = Literal["dev", "stage", "prod"]
Status = Literal["starting", "ready", "failed", "stopped"]
EndpointName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
VersionRef = Annotated[
    Line, Field(description="Which version of which model: name@3, or name@alias.", min_length=3)
]
Share = Annotated[int, Field(ge=0, le=100)]


class CallPolicy(In):
    """Who may call an endpoint, of those whom the organisation's policy lets call any; and how often."""

    roles: Annotated[list[Line], Field(max_length=20, description="Roles that may call; none: all.")] = []
    actors: Annotated[
        list[Line],
        Field(
            max_length=200, description="Ids of members, keys, programs and apps that may call; none: all."
        ),
    ] = []
    per_minute: Annotated[
        int | None, Field(ge=1, le=10_000_000, description="Calls of all together, per minute.")
    ] = None


class Scaling(In):
    """How many processes on this machine answer for each deployment: more while calls wait, fewer when it is quiet."""

    min_replicas: Annotated[
        int,
        Field(ge=0, le=16, description="At least; 0: none while nobody calls, and the next call starts one."),
    ] = 1
    max_replicas: Annotated[int, Field(ge=1, le=16, description="At most.")] = 1
    target: Annotated[
        int, Field(ge=1, le=1000, description="Calls in flight that each has before there is another one.")
    ] = 4
    quiet_s: Annotated[
        float, Field(ge=1, le=86_400, description="Seconds of less to do after which there is one fewer.")
    ] = 300.0

    @model_validator(mode="after")
    def _in_order(self) -> "Scaling":
        if self.min_replicas > self.max_replicas:
            raise ValueError("min_replicas is more than max_replicas")
        return self


class PayloadLog(In):
    """Which share of the calls is kept with what was asked and answered, without the secrets that are known."""

    rate: Annotated[float, Field(ge=0, le=1, description="0: none, 1: all.")] = 0.0
    max_chars: Annotated[int, Field(ge=100, le=16_384, description="Of each text; the rest is cut.")] = 2048
    keep_days: Annotated[int, Field(ge=1, le=90, description="How long each is kept.")] = 7


class CreateIn(WriteIn):
    """A new endpoint with its first version."""

    name: Annotated[EndpointName, Field(description="What it is called, e.g. iris.")]
    model_version: VersionRef
    env: Annotated[
        Environment,
        Field(description="prod answers with what is in production alone, stage with what is staged, too."),
    ] = "dev"
    policy: CallPolicy = CallPolicy()
    runtime: Annotated[Line, Field(description="Runtime with the model's libraries.")] = ""
    profile: Annotated[Line, Field(description="How much of the machine each process may use.")] = ""
    scaling: Scaling = Scaling()
    payloads: PayloadLog = PayloadLog()


class ChangeIn(WriteIn):
    """What is to be otherwise at an endpoint; what is left out stays."""

    id: Line
    policy: CallPolicy | None = None
    scaling: Scaling | None = None
    payloads: PayloadLog | None = None


class EndpointLogsIn(In):
    """Which log of an endpoint, and from which byte on."""

    id: Line
    deployment: Annotated[
        Line | None, Field(description="Id of the deployment; the newest when left out.")
    ] = None
    start: Annotated[
        int | None,
        Field(
            ge=1,
            description="Which start of its processes; the last one when left out. The last 20 are kept.",
        ),
    ] = None
    offset: Annotated[int, Field(ge=0, description="First byte that is wanted.")] = 0
    limit: Annotated[int, Field(ge=1, le=262_144, description="Bytes, at most.")] = 65_536


class PayloadsIn(In):
    """Filters of what was asked and answered."""

    id: Line
    deployment: Annotated[Line | None, Field(description="Answered by this deployment.")] = None
    status: Annotated[int | None, Field(ge=100, le=599, description="Answered with this status.")] = None
    limit: int = Field(20, ge=1, le=100)
    cursor: str | None = None


class WhichIn(In):
    """Which endpoint."""

    id: Line


class ActIn(WriteIn):
    """Which endpoint."""

    id: Line


class DeployIn(WriteIn):
    """Another version for an endpoint; the one before goes on until this one answers."""

    id: Line
    model_version: VersionRef
    share: Annotated[Share, Field(description="Percent of the calls that it gets once it answers.")] = 100


class TrafficIn(WriteIn):
    """Which share of the calls each deployment gets."""

    id: Line
    shares: Annotated[
        dict[Line, Share], Field(min_length=1, max_length=10, description="Deployment → percent; 100 in all.")
    ]
    shadow: Annotated[
        Line | None,
        Field(
            description="A deployment that is asked likewise; its answers are compared and never given out."
        ),
    ] = None


class ListIn(In):
    """Filters of the list."""

    env: Environment | None = None
    stopped: Annotated[bool, Field(description="Show those that were stopped, too.")] = False
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class MetricsIn(In):
    """Which endpoint, and how far back."""

    id: Line
    minutes: Annotated[int, Field(ge=1, le=10_080, description="How far back.")] = 60


class Drift(Out):
    """How far a column has moved. `psi`: population stability index against what came first, or `baseline.json`."""

    column: str
    psi: float
    level: Annotated[
        Literal["stable", "moved", "shifted"], Field(description="Below 0.1, below 0.25, beyond.")
    ]


class _Told(BaseModel):
    column: Annotated[str, Field(max_length=100)]
    psi: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]


class _ToldAll(BaseModel):
    columns: Annotated[list[_Told], Field(max_length=50)]


def moved(told: bytes) -> list[dict[str, Any]] | None:
    """What the process of a model told of its columns, as rows hold it; None where that is of no use: it may say
    whatever it likes.
    """
    try:
        columns = _ToldAll.model_validate_json(told).columns
    except ValidationError:
        return None
    levels = (
        (one, "stable" if one.psi < 0.1 else "moved" if one.psi < 0.25 else "shifted") for one in columns
    )
    return [{"column": one.column.replace("\0", ""), "psi": one.psi, "level": level} for one, level in levels]


class ModelDeployment(Out):
    """A version behind an endpoint. `share`: percent of the calls."""

    id: str
    number: int
    model: str
    version: int
    version_id: str
    status: Status
    detail: str
    share: int
    replicas: Annotated[int, Field(description="Processes that it has, or is about to have.")]
    starts: Annotated[int, Field(description="How often a process of it was started.")]
    drift: Annotated[
        list[Drift], Field(description="Columns of numbers, once enough rows have come; far ones first.")
    ]
    created_by: str
    created_at: datetime
    ready_at: datetime | None
    ended_at: datetime | None


class Endpoint(Out):
    """An address that answers with models."""

    id: str
    name: str
    env: Environment
    url: Annotated[str, Field(description="Where it is called: POST a document.")]
    policy: CallPolicy
    runtime: str
    profile: str
    state: Literal["active", "stopped"]
    shadow: Annotated[str | None, Field(description="The deployment that is asked likewise, unheard.")]
    scaling: Scaling
    payloads: PayloadLog
    deployments: Annotated[list[ModelDeployment], Field(description="Newest first.")]
    created_by: str
    created_at: datetime
    updated_at: datetime


class EndpointLogs(Out):
    """A piece of what a process of a deployment printed."""

    id: str
    deployment: str
    start: int
    text: str
    offset: int
    next_offset: Annotated[int, Field(description="Where the next piece begins.")]
    size: int


class Payload(Out):
    """What one call was asked and answered, as far as it is kept. `cut`: there was more."""

    id: str
    deployment_id: str
    at: datetime
    expires_at: datetime
    actor: str
    request_id: str
    status: int
    ms: float
    input: str
    output: str
    cut: bool


class PayloadList(Out):
    """One page, newest first."""

    items: list[Payload]
    next_cursor: str | None


class EndpointList(Out):
    """One page, newest first."""

    items: list[Endpoint]
    next_cursor: str | None


class Answered(Out):
    """How an endpoint, or one deployment of it, did. Latency in milliseconds, as its buckets tell it."""

    deployment_id: str | None
    calls: int
    errors: Annotated[int, Field(description="The model failed, or did not answer.")]
    refused: Annotated[int, Field(description="What was sent did not fit the model.")]
    error_rate: float
    compared: Annotated[
        int, Field(description="Answers that were given unheard, held against the ones given out.")
    ]
    differed: Annotated[int, Field(description="Those of them that were not the same.")]
    p50_ms: float | None
    p95_ms: float | None


class LatencyBucket(Out):
    """Calls that took no longer, and longer than the bucket before."""

    up_to_ms: Annotated[float | None, Field(description="Milliseconds; null: without end.")]
    calls: int


class AnsweredAt(Out):
    """How an endpoint did in a while that begins at `at`."""

    at: datetime
    calls: int
    errors: int
    refused: int
    p50_ms: float | None
    p95_ms: float | None


class EndpointMetrics(Out):
    """How an endpoint did lately: all together, then each deployment."""

    id: str
    minutes: int
    total: Answered
    deployments: list[Answered]
    buckets: Annotated[list[LatencyBucket], Field(description="All calls by latency, fastest first.")]
    times: Annotated[list[AnsweredAt], Field(description="Oldest first; a while without calls is left out.")]
