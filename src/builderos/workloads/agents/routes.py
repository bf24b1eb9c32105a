"""Operations on agents."""

from builderos.core.operations import Operations, Reply
from builderos.core.unit import Unit
from builderos.execution.runs.schema import RunStarted

from . import acts, comments
from .comments import Commented, CommentIn, CommentList, CommentListIn
from .schema import (
    AgentFile,
    AgentIn,
    AgentList,
    AgentListIn,
    AgentRunIn,
    CallList,
    CallListIn,
    InterruptIn,
    TellIn,
    Told,
)

routes = Operations("agents")


@routes.get("/v1/agents", "listAgents")
def list_agents(unit: Unit, body: AgentListIn) -> AgentList:
    """List agents: those that come with BuilderOS, and with a branch those of its files."""
    return acts.listed(unit, body)


@routes.get("/v1/agents/{name}", "showAgent")
def show_agent(unit: Unit, body: AgentIn) -> AgentFile:
    """Show one agent with its file, which you may copy to agents/<name>.yaml and change."""
    return acts.show(unit, body)


@routes.post("/v1/agents/{name}/runs", "runAgent", status=202, consequential=True)
def run_agent(unit: Unit, body: AgentRunIn) -> Reply[RunStarted]:
    """Give an agent a task on your branch."""
    return acts.run(unit, body)


@routes.get("/v1/steps/{id}/calls", "listAgentCalls")
def list_agent_calls(unit: Unit, body: CallListIn) -> CallList:
    """List what the agent of a step asked its model and did with its tools."""
    return acts.calls_of(unit, body)


@routes.post("/v1/steps/{id}/message", "tellAgent")
def tell_agent(unit: Unit, body: TellIn) -> Told:
    """Tell a working agent something: it hears it before its next turn."""
    return acts.tell(unit, body)


@routes.post("/v1/runs/{id}/comments", "commentRun")
def comment_run(unit: Unit, body: CommentIn) -> Commented:
    """Comment on lines that a run changed: its agent hears all of them together, before its next turn.

    Where no agent works, the next one hears them that begins in the run, or in one that runs it again.
    """
    return comments.comment(unit, body)


@routes.get("/v1/runs/{id}/comments", "listRunComments")
def list_run_comments(unit: Unit, body: CommentListIn) -> CommentList:
    """List what was said of lines that a run changed, oldest first, and whether an agent heard it."""
    return comments.listed(unit, body)


@routes.post("/v1/steps/{id}/interrupt", "interruptAgent")
def interrupt_agent(unit: Unit, body: InterruptIn) -> Told:
    """Stop a working agent: it asks what it is to do, and goes on with your answer."""
    return acts.interrupt(unit, body)
