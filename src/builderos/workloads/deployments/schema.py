"""The words of deployments (SPEC §5: the names of `Deployment` are fixed)."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from builderos.assets.workspaces.service import BranchWriteIn
from builderos.core.schema import In, Line, Name, Out, Text, WriteIn

Environment = Literal["preview", "dev", "stage", "prod"]
Status = Literal["queued", "building", "live", "failed", "superseded", "rolled_back"]


class DeployIn(BranchWriteIn):
    """Which branch, and where to."""

    env: Annotated[
        Environment, Field(description="Environment: preview (of the branch), dev, stage or prod.")
    ] = "preview"


class DeployStarted(Out):
    """A deployment that was asked for; the run tells how it goes."""

    run_id: str
    env: Environment
    message: str


class DeploymentIn(In):
    """Which deployment."""

    id: Line


class DeploymentRollbackIn(WriteIn):
    """Which deployment to take back, and why."""

    id: Line
    reason: Annotated[Text, Field(description="Why; kept with the deployment.", max_length=2000)] = ""


class DeploymentLogsIn(In):
    """Which deployment's log, and from which byte on."""

    id: Line
    offset: Annotated[int, Field(ge=0, description="First byte that is wanted.")] = 0
    limit: Annotated[int, Field(ge=1, le=262_144, description="Bytes, at most.")] = 65_536


class DeploymentListIn(In):
    """Filters of the list."""

    repo_name: Name | None = None
    branch: Name | None = None
    env: Environment | None = None
    status: Status | None = None
    run_id: Line | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: str | None = None


class Deployment(Out):
    """A tree of a branch in an environment."""

    id: str
    run_id: str
    step_id: str
    provider: str
    env: Environment
    url: Annotated[str | None, Field(description="Where it is, or was, looked at.")]
    status: Status
    reason: Annotated[str | None, Field(description="In a word, why it is no longer or never was live.")]
    detail: str
    logs_ref: str
    number: Annotated[int, Field(description="Counts the deployments of its environment from 1.")]
    repo_name: str
    branch: str
    project_id: str | None
    tree: Annotated[str, Field(description="The git tree that was deployed.")]
    built_tree: Annotated[str | None, Field(description="What its build made of that tree; this is served.")]
    commit_sha: Annotated[str | None, Field(description="The commit with that tree, where there is one.")]
    replaces: Annotated[str | None, Field(description="The deployment that was live before.")]
    approval_id: str | None
    health: dict[str, Any] | None
    policy_events: list[dict[str, Any]]
    created_by: str
    created_at: datetime
    live_at: datetime | None
    ended_at: datetime | None


class DeploymentList(Out):
    """One page, newest first."""

    items: list[Deployment]
    next_cursor: str | None


class DeploymentHealth(Out):
    """What was found when the deployment was looked at last."""

    id: str
    status: Status
    well: Annotated[bool | None, Field(description="Null where nobody looks at it.")]
    checked_at: datetime | None
    http_status: int | None
    latency_ms: float | None
    detail: str


class DeploymentLogs(Out):
    """A piece of what the build and the deployment printed, secrets redacted."""

    id: str
    text: str
    offset: int
    next_offset: Annotated[int, Field(description="Where the following piece begins.")]
    size: int
