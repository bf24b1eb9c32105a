"""The words of triggers."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from builderos.assets.workspaces.service import BranchWriteIn
from builderos.core.schema import In, Line, Name, Out, WriteIn


class TriggersOnIn(BranchWriteIn):
    """Which pipeline, as it stands on which branch."""

    name: Name


class TriggerOut(Out):
    """What starts runs of a pipeline. `actor`: on whose behalf, with what they may do at that time."""

    id: str
    pipeline_id: str
    kind: Literal["schedule", "push", "after"]
    spec: dict[str, Any]
    repo_name: str
    branch: str
    actor: str
    state: Literal["active", "stopped"]
    detail: str
    next_at: datetime | None
    last_at: datetime | None
    last_run_id: str | None
    created_at: datetime


class TriggersOn(Out):
    """What is on now, in the order of the file."""

    items: list[TriggerOut]
    message: str


class TriggerListIn(In):
    """Filters of the list."""

    pipeline: Annotated[Name | None, Field(description="Only those of this pipeline, by its name.")] = None
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class TriggerList(Out):
    """One page, newest first."""

    items: list[TriggerOut]
    next_cursor: str | None


class TriggerIn(WriteIn):
    """Which trigger."""

    id: Line


class TriggerOff(Out):
    """A trigger that is gone."""

    id: str
    message: str
