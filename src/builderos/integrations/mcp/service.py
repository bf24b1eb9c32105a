"""Servers of the Model Context Protocol, by its own client: over streamable HTTP, and over standard streams.

The library is loaded when the first line is opened. Schemas that a server gives are passed on and never applied here:
an expression in one of them could take for ever.
"""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, cast

from builderos import VERSION
from builderos.core.outgoing import Place
from builderos.core.problems import Problem
from builderos.execution.runs import service as runs
from builderos.workloads.agents.ports import Answered, Offered

if TYPE_CHECKING:
    import mcp_types as types
    from mcp.client.session import ClientSession

_PAGES: Final = 20
_TOOLS: Final = 1_000


class McpClient:
    """Opens lines. See `ToolServers`."""

    def at(
        self, place: Place, headers: Mapping[str, str], timeout_s: float
    ) -> AbstractAsyncContextManager["McpLine"]:
        """See `ToolServers`."""
        return _at(place, headers, timeout_s)

    def over(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout_s: float
    ) -> AbstractAsyncContextManager["McpLine"]:
        """See `ToolServers`."""
        from .streams import transport

        return _spoken(transport(reader, writer), timeout_s)


@asynccontextmanager
async def _at(place: Place, headers: Mapping[str, str], timeout_s: float) -> AsyncGenerator["McpLine"]:
    from mcp.client.streamable_http import streamable_http_client

    from .http import client

    async with client(place, headers, timeout_s) as http:
        over = streamable_http_client(place.base_url, http_client=http)
        async with _spoken(over, timeout_s) as line:
            yield line


@asynccontextmanager
async def _spoken(transport: Any, timeout_s: float) -> AsyncGenerator["McpLine"]:
    from mcp.client.client import Client
    from mcp_types import Implementation

    about = Implementation(name="builderos", version=VERSION)
    client = Client(transport, read_timeout_seconds=timeout_s, client_info=about, cache=None)
    opened = False
    try:
        async with client:
            opened = True
            yield McpLine(client.session, timeout_s)
    except BaseException as error:
        if opened or isinstance(error, asyncio.CancelledError):
            raise
        raise _no_answer(error) from error


class McpLine:
    """A line to one server. See `ToolLine`."""

    def __init__(self, session: "ClientSession", timeout_s: float) -> None:
        self._session = session
        self._timeout_s = timeout_s

    async def tools(self) -> Sequence[Offered]:
        """See `ToolLine`."""
        from mcp_types import PaginatedRequestParams

        found: list[Offered] = []
        cursor: str | None = None
        for _ in range(_PAGES):
            params = PaginatedRequestParams(cursor=cursor) if cursor is not None else None
            page = await self._asked(self._session.list_tools(params=params))
            found += [_offered(tool) for tool in page.tools]
            cursor = page.next_cursor
            if cursor is None or len(found) > _TOOLS:
                break
        if cursor is not None:
            raise Problem("upstream_failed", "its list of tools does not end", hint="Mend the server.")
        return found

    async def call(self, name: str, args: Mapping[str, Any]) -> Answered:
        """See `ToolLine`."""
        from mcp_types import CallToolRequest, CallToolRequestParams, CallToolResult

        request = CallToolRequest(params=CallToolRequestParams(name=name, arguments=dict(args)))
        # Not `call_tool`: that applies the schema of the server to its answer.
        done = await self._asked(self._session.send_request(request, CallToolResult))
        return Answered(list(_texts(done.content)), done.structured_content, bool(done.is_error))

    async def _asked(self, asked: Any) -> Any:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asked
        except asyncio.CancelledError:
            raise
        except Exception as error:
            raise _no_answer(error) from error


def _offered(tool: "types.Tool") -> Offered:
    told: dict[str, Any] = tool.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude={"meta", "icons"}
    )
    hints = tool.annotations
    try:
        digest = runs.digest(told)
    except ValueError as error:
        raise Problem(
            "upstream_failed", f"its tool {tool.name[:100]} is no JSON", hint="Mend the server."
        ) from error
    return Offered(
        tool.name, tool.description or "", dict(tool.input_schema), digest,
        read_only=bool(hints and hints.read_only_hint), idempotent=bool(hints and hints.idempotent_hint),
    )  # fmt: skip


def _texts(content: "Sequence[types.ContentBlock]") -> Iterator[str]:
    """What can be read of it; of anything else, what it is."""
    for block in content:
        told: dict[str, Any] = block.model_dump(mode="json", by_alias=True, exclude_none=True)
        if isinstance(text := told.get("text"), str):
            yield text
            continue
        resource: dict[str, Any] = told.get("resource") or {}
        if isinstance(text := resource.get("text"), str):
            yield text
            continue
        data = told.get("data") or resource.get("blob")
        if isinstance(data, str):
            kind = told.get("mimeType") or resource.get("mimeType") or told.get("type")
            yield f"[{str(kind)[:100]}, {_size(data)} bytes, not shown]"
        else:
            yield json.dumps(told, ensure_ascii=False)


def _size(data: str) -> int:
    try:
        return len(base64.b64decode(data))
    except ValueError:
        return len(data)


def _no_answer(error: BaseException) -> Problem:
    """Why there is no answer, in a line."""
    if isinstance(error, Problem):
        return error
    one: BaseException = error
    while isinstance(one, BaseExceptionGroup):
        one = cast("BaseExceptionGroup[BaseException]", one).exceptions[0]
    why = "it did not answer in time" if isinstance(one, TimeoutError) else f"{type(one).__name__}: {one}"
    return Problem("upstream_failed", why[:500], hint="Look whether the server runs.")
