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
    """What starts runs of a pipeline. `actor`: on whose behalf, with what they may do at that time. `hook`: the path
    that a webhook is called at.
    """

    id: str
    pipeline_id: str
    kind: Literal["schedule", "push", "after", "webhook"]
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
    hook: str | None = None
    old_secret_until: datetime | None = None


class TriggerOn(TriggerOut):
    """A trigger that was switched on. `secret`: of a webhook that is new; it is shown only here."""

    secret: str | None = None


class TriggersOn(Out):
    """What is on now, in the order of the file."""

    items: list[TriggerOn]
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


class TriggerSecretIn(WriteIn):
    """How long the secret so far counts, too."""

    id: Line
    overlap_hours: Annotated[
        int, Field(description="Hours in which both secrets count; 0 ends the old one now.", ge=0, le=168)
    ] = 24


class TriggerSecret(Out):
    """A webhook with a fresh secret; it is shown only here."""

    id: str
    hook: str
    secret: str
    old_secret_until: datetime | None
    message: str


class TriggerOff(Out):
    """A trigger that is gone."""

    id: str
    message: str
