"""What agents need of others: somebody who answers for a model, and somebody who speaks with servers of tools."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from builderos.core.context import Context
from builderos.core.outgoing import Place
from builderos.core.unit import Call


@dataclass(frozen=True, slots=True)
class Turn:
    """Which turn of which agent a request is: for budgets and for the ledger of usage. `number` counts from 1;
    `prompt` is `name@version#sha256`."""

    run_id: str
    step_id: str
    agent: str
    prompt: str
    number: int


class Models(Protocol):
    """Answers requests in the form of OpenAI's chat completions."""

    async def complete(
        self, context: Context, call: Call, request: Mapping[str, Any], turn: Turn
    ) -> dict[str, Any]:
        """The reply, with `choices`, `usage`, `model`, `cost`, `label`. Raises `Problem`."""
        ...


@dataclass(frozen=True, slots=True)
class Offered:
    """A tool of an MCP server, in its own words. `digest`: of everything that it says about the tool. `read_only` and
    `idempotent` are its word, too."""

    name: str
    description: str
    schema: Mapping[str, Any]
    digest: str
    read_only: bool = False
    idempotent: bool = False


@dataclass(frozen=True, slots=True)
class Answered:
    """What a tool of an MCP server said: texts and JSON; `error` where it says that it went wrong."""

    content: Sequence[str]
    structured: Any = None
    error: bool = False


class ToolLine(Protocol):
    """An open line to an MCP server. Each raises `Problem("upstream_failed")`: no answer in time, or none of the
    protocol, or too much of it."""

    async def tools(self) -> Sequence[Offered]:
        """What it offers now."""
        ...

    async def call(self, name: str, args: Mapping[str, Any]) -> Answered:
        """Use a tool."""
        ...


class ToolServers(Protocol):
    """Opens lines. To be entered and left by one task; raises `Problem("upstream_failed")`."""

    def at(
        self, place: Place, headers: Mapping[str, str], timeout_s: float
    ) -> AbstractAsyncContextManager[ToolLine]:
        """To an address: exactly the one that was checked is dialled."""
        ...

    def over(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout_s: float
    ) -> AbstractAsyncContextManager[ToolLine]:
        """To a program, over its standard streams."""
        ...
