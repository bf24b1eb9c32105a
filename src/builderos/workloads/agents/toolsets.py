"""Which tools an agent has: those that its file names, as far as this server has them."""

from collections.abc import Mapping

from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.steps import Work

from . import recalling, verbs
from .definition import Agent
from .mcp_servers import PREFIX
from .shell import SHELL
from .tools import ASK, FILES, Tool

OWN: Mapping[str, Tool] = {tool.name: tool for tool in (*FILES, *SHELL, ASK, *recalling.TOOLS)}


async def tools_for(context: Context, work: Work, agent: Agent) -> dict[str, Tool]:
    """The tools of an agent in a step, by name. Raises `validation_failed` for one that there is not."""
    del work
    offered = verbs.offered(context)
    found: dict[str, Tool] = {}
    for name in agent.toolset:
        if name in OWN:
            found[name] = OWN[name]
        elif name in offered:
            found[name] = verbs.tool_of(offered[name])
        elif not name.startswith(PREFIX):  # those of MCP servers are known once they were asked
            raise Problem(
                "validation_failed", f"{agent.name} names the tool {name}, which agents cannot have",
                hint=f"There are {', '.join([*OWN, *offered])}.",
            )  # fmt: skip
    return found
