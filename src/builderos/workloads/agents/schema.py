"""The words of agents."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from builderos.assets.workspaces.service import BranchIn, BranchWriteIn
from builderos.core.schema import In, Json, Line, Name, Out, Prose, Text, WriteIn


class AgentListIn(BranchIn):
    """Agents that ship; with a branch, those of its files, too."""


class AgentIn(BranchIn):
    """One agent: of a branch where one is named and has it, else the one that ships."""

    name: Annotated[Name, Field(description="Name of the agent, e.g. builder.")]


class AgentOut(Out):
    """An agent. `source`: its file on the branch, or `shipped`."""

    id: str
    name: str
    version: str
    role: str
    description: str
    prompt_ref: str
    model: str
    toolset: list[str]
    memory_profile: dict[str, Any]
    policy: dict[str, Any]
    limits: dict[str, Any]
    output: dict[str, Any] | None
    source: str


class AgentFile(AgentOut):
    """An agent with its file, to be copied to agents/<name>.yaml and changed."""

    content: str


class AgentList(Out):
    """Agents by name."""

    items: list[AgentOut]
    next_cursor: str | None = None


class AgentRunIn(BranchWriteIn):
    """A task for one agent, on a branch."""

    name: Annotated[Name, Field(description="Name of the agent, e.g. builder.")]
    goal: Annotated[Prose, Field(description="What it is to do.", min_length=1, max_length=20_000)]
    inputs: Annotated[
        dict[Line, Json], Field(description="What else its prompt asks for.", max_length=50)
    ] = {}
    commit: Annotated[
        bool,
        Field(description="Whether what it leaves is committed to the branch; else it stays with the run."),
    ] = True
    tests: Annotated[
        Text | None,
        Field(description="Command that has to end well before anything is committed.", max_length=4_000),
    ] = None


class StepIn(In):
    """Which step."""

    id: Annotated[Line, Field(description="Id of the step.")]


class CallListIn(StepIn):
    """Which calls of a step's agent."""

    limit: Annotated[int, Field(description="Calls per page.", ge=1, le=200)] = 50
    cursor: Annotated[str | None, Field(description="Continue where the page before ended.")] = None


class CallOut(Out):
    """One call of a model or a tool. `request`: arguments of a tool; `text`: what was said; `asked`: tools that a model
    asked for."""

    session: int
    n: int
    kind: Literal["model", "tool"]
    name: str
    status: Literal["begun", "waiting", "done", "failed", "refused"]
    request: dict[str, Any]
    text: str
    asked: list[str]
    label: str
    usage: dict[str, Any]
    decision: dict[str, Any]
    begun_at: datetime
    ended_at: datetime | None


class CallList(Out):
    """One page, oldest first."""

    items: list[CallOut]
    next_cursor: str | None


class TellIn(WriteIn, StepIn):
    """Something that the agent of a step hears before its next turn."""

    text: Annotated[Prose, Field(description="What it is to know or to do.", min_length=1, max_length=20_000)]


class InterruptIn(WriteIn, StepIn):
    """Stop the agent of a step, and be asked what it is to do."""


class Told(Out):
    """What becomes of it."""

    step_id: str
    run_id: str
    message: str
