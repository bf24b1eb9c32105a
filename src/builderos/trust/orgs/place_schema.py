"""Words of workspaces, projects and grants."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from builderos.core.schema import In, Line, Name, Out, WriteIn
from builderos.trust.identity.service import roles
from builderos.trust.policy.schema import canonical_path

GrantedRole = Literal["admin", "builder", "reviewer", "viewer"]


def _plain(text: str) -> str:
    if "|" in text or text != text.strip():
        raise ValueError("must have no | and no space at its ends")
    return text


PlaceName = Annotated[Name, StringConstraints(max_length=100), AfterValidator(_plain)]
Environment = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$"), AfterValidator(roles.canonical)
]
Names = Annotated[list[Name], Field(max_length=50)]
Path = Annotated[Line, AfterValidator(lambda text: canonical_path(text) if text else "")]


class WorkspaceIn(WriteIn):
    """A new workspace."""

    name: Annotated[PlaceName, Field(description="How it is called, e.g. Research.")]


class WorkspaceChangeIn(WriteIn):
    """What is to change in a workspace; what is left out stays."""

    id: Line
    name: Annotated[PlaceName | None, Field(description="Another name.")] = None
    archived: Annotated[bool | None, Field(description="Put it away, or get it back.")] = None


class PlaceListIn(In):
    """Whether archived ones are shown, too."""

    archived: Annotated[bool, Field(description="Show archived ones, too.")] = False


class ProjectListIn(PlaceListIn):
    """Filters of the projects."""

    workspace_id: Annotated[Line | None, Field(description="Of this workspace alone.")] = None


class PlaceIn(In):
    """Which one."""

    id: Line


class Project(Out):
    """What people work on: some repositories, with environments to deploy to."""

    id: str
    workspace_id: str
    name: str
    path: str
    stack: list[str]
    envs: list[str]
    desks: list[str]
    prompts: list[str]
    created_at: datetime
    archived_at: datetime | None


class ProjectList(Out):
    """All projects, by name."""

    items: list[Project]
    next_cursor: str | None = None


class Workspace(Out):
    """Some projects that belong together."""

    id: str
    name: str
    projects: list[Project]
    created_at: datetime
    archived_at: datetime | None


class WorkspaceList(Out):
    """All workspaces, by name."""

    items: list[Workspace]
    next_cursor: str | None = None


class ProjectIn(WriteIn):
    """A new project."""

    workspace_id: Annotated[Line, Field(description="The workspace that it belongs to.")]
    name: Annotated[PlaceName, Field(description="How it is called; policy files know it by this name.")]
    path: Annotated[Path, Field(description="Where in its repositories it lies; empty: all of them.")] = ""
    stack: Annotated[Names, Field(description="What it is built with, e.g. python.")] = []
    envs: Annotated[
        list[Environment], Field(description="Environments it is deployed to.", max_length=20)
    ] = ["dev", "stage", "prod"]


class ProjectChangeIn(WriteIn):
    """What is to change in a project; what is left out stays."""

    id: Line
    name: Annotated[PlaceName | None, Field(description="Another name.")] = None
    workspace_id: Annotated[Line | None, Field(description="Another workspace.")] = None
    path: Annotated[Path | None, Field(description="Where in its repositories it lies.")] = None
    stack: Annotated[Names | None, Field(description="What it is built with.")] = None
    envs: Annotated[
        list[Environment] | None, Field(description="Environments it is deployed to.", max_length=20)
    ] = None
    archived: Annotated[bool | None, Field(description="Put it away, or get it back.")] = None


class GrantIn(WriteIn):
    """Who gets which role where, instead of the role in the whole organisation."""

    member_id: Annotated[Line, Field(description="The member.")]
    role: Annotated[GrantedRole, Field(description="What the member may do there.")]
    place: Annotated[
        Line | None,
        Field(description="Id of a workspace, project or repository; the organisation when unsaid."),
    ] = None
    environment: Annotated[
        Environment | None, Field(description="Only for acts in this environment, e.g. stage.")
    ] = None


class GrantListIn(In):
    """Filters of the grants."""

    member_id: Annotated[Line | None, Field(description="Of this member alone.")] = None
    place: Annotated[Line | None, Field(description="In this place alone.")] = None


class Grant(Out):
    """A role in one place. `environment` is empty where it holds in all of them."""

    id: str
    member_id: str
    place: str
    environment: str
    role: GrantedRole
    created_at: datetime


class GrantList(Out):
    """All grants that fit, oldest first."""

    items: list[Grant]
    next_cursor: str | None = None
