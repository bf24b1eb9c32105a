"""The MCP server over HTTP, built from the library at the first request. Both protocol eras, no session to lose."""

import dataclasses
import json
from typing import Any

import anyio
import anyio.to_thread
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError

from builderos import VERSION
from builderos.core.application import Application
from builderos.core.settings import Settings
from builderos.interfaces.http.gpt import chat_pod
from builderos.interfaces.http.serve import Incoming, known
from builderos.trust.identity import service as identity

from .tools import Answer, Tool, call, tools_of

Context = ServerRequestContext[Any, Any]


def build_manager(app: Application, limiter: anyio.CapacityLimiter) -> StreamableHTTPSessionManager:
    """The session manager to run in the server's lifespan.

    Stateless: every message brings its credential, so any process can answer any message. Hosts, origins and sizes are
    checked before a message gets here.
    """
    return StreamableHTTPSessionManager(
        build_server(app, limiter), json_response=True, stateless=True,
        max_request_body_size=app.context.get(Settings).max_body,
    )  # fmt: skip


def build_server(app: Application, limiter: anyio.CapacityLimiter) -> Server[Any]:
    """The MCP server of an application; its calls run in the threads that `limiter` counts."""
    tools = tools_of(app)

    async def list_tools(ctx: Context, _params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        actor = await anyio.to_thread.run_sync(known, app, _incoming(ctx), limiter=limiter)
        return types.ListToolsResult(tools=[as_mcp(tool) for tool in tools.values() if tool.allowed(actor)])

    async def call_tool(ctx: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        tool = tools.get(params.name)
        if tool is None:
            raise MCPError(
                types.INVALID_PARAMS, f"there is no tool {params.name[:100]!r}; tools/list names them all"
            )
        answer = await anyio.to_thread.run_sync(
            call, app, tool.operation, params.arguments or {}, _incoming(ctx), limiter=limiter
        )
        if answer.problem is not None and "scope" in answer.problem.extra and _by_agreement(ctx):
            assert ctx.request is not None
            ctx.request.state.lacking = answer.problem
        return result_of(answer)

    return Server(
        "builderos", version=VERSION, title="BuilderOS", instructions=chat_pod().template, on_list_tools=list_tools,
        on_call_tool=call_tool, get_tool_input_schema=lambda name: tools[name].input_schema if name in tools else None,
    )  # fmt: skip


def _by_agreement(ctx: Context) -> bool:
    """Whether the credential came from a sign-in, which can be repeated with more scopes."""
    return (_incoming(ctx).bearer or "").startswith(identity.PREFIX["access"])


def _incoming(ctx: Context) -> Incoming:
    """What the edge knows of the HTTP request that carried the message."""
    assert ctx.request is not None, "served over HTTP only"
    return dataclasses.replace(ctx.request.state.incoming, door="mcp")


def as_mcp(tool: Tool) -> types.Tool:
    """A tool in the library's words."""
    operation = tool.operation
    reads = operation.effect == "read"
    return types.Tool(
        name=operation.name,
        description="\n\n".join(filter(None, (operation.summary, operation.description))),
        input_schema=tool.input_schema,
        output_schema=tool.output_schema,
        annotations=types.ToolAnnotations(
            read_only_hint=reads,
            destructive_hint=operation.consequential,
            idempotent_hint=reads,
            open_world_hint=False,
        ),
    )


def result_of(answer: Answer) -> types.CallToolResult:
    """A reply or problem as structured content, and as text for clients that know nothing else."""
    text = types.TextContent(type="text", text=json.dumps(answer.body, ensure_ascii=False))
    return types.CallToolResult(content=[text], structured_content=answer.body, is_error=answer.failed)
