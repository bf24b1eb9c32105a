"""What other rooms may use of agents."""

from . import packs, trace
from .asking import GatewayModels
from .calls import Calls, Parked
from .definition import Agent, Limits, agent_of, parse
from .gate import APPROVALS, Asked, Verdict, judge
from .lending import builtin
from .limits import Reached
from .mcp_servers import McpServers
from .ports import Answered, Models, Offered, ToolLine, ToolServers, Turn
from .steps import ACTION, run_agent

__all__ = [
    "ACTION",
    "APPROVALS",
    "Agent",
    "Answered",
    "Asked",
    "Calls",
    "GatewayModels",
    "Limits",
    "McpServers",
    "Models",
    "Offered",
    "Parked",
    "Reached",
    "ToolLine",
    "ToolServers",
    "Turn",
    "Verdict",
    "agent_of",
    "builtin",
    "judge",
    "packs",
    "parse",
    "run_agent",
    "trace",
]
