"""Operations on agents."""

from builderos.core.operations import Operations, Reply
from builderos.core.unit import Unit
from builderos.execution.runs.schema import RunStarted

from . import acts
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


@routes.post("/v1/steps/{id}/interrupt", "interruptAgent")
def interrupt_agent(unit: Unit, body: InterruptIn) -> Told:
    """Stop a working agent: it asks what it is to do, and goes on with your answer."""
    return acts.interrupt(unit, body)
