"""`python -m builderos.interfaces.mcp.stdio`: MCP on stdin and stdout for editors and desktop chats.

A relay without a rule of its own: it passes `tools/list` and `tools/call` on to `/mcp` of a server. BUILDEROS_URL names
the server; without it the local one is used, and started when none answers. BUILDEROS_TOKEN is the credential of every
call that brings none; without it the tools ask for `reuse_token`, which `initSandbox` gives.
"""

import os
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError

from builderos.client import local, signing_in
from builderos.client.errors import ClientError
from builderos.client.http import Client
from builderos.client.kept import Kept
from builderos.core.home import configured_home

Json = dict[str, Any]
Context = ServerRequestContext[Any, Any]
# The newest version whose messages need no handshake and no session on a stateless server.
_ERA: Final = {"MCP-Protocol-Version": "2025-11-25"}


_INSTRUCTIONS: Final = (
    "Call initSandbox first; send its repo_name, branch and reuse_token in every call, and always tell the person the "
    "repository and the branch."
)


class Relay:
    """Messages to one server, over connections that are kept.

    `locate` says where the server is, `token(url)` as whom to speak there.
    """

    def __init__(self, locate: Callable[[], str], token: Callable[[str], str | None]) -> None:
        self._locate = locate
        self._token = token
        self._idle: list[Client] = []

    def ask(self, method: str, params: Json) -> Json:
        """The result of one message. Raises `ClientError`, or `MCPError` as the server gave it."""
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        try:
            reply = self._send(message)
        except ClientError as error:
            if not isinstance(error.__cause__, ConnectionRefusedError):
                raise
            self._idle.clear()  # nothing was sent; the server may have moved to another port
            reply = self._send(message)
        if "error" in reply:
            error = reply["error"]
            raise MCPError(error["code"], error["message"], error.get("data"))
        return reply["result"]

    def _send(self, message: Json) -> Json:
        client = self._idle.pop() if self._idle else Client(self._locate(), headers=_ERA)
        client.token = self._token(client.url)
        reply = client.call("POST", "/mcp", message)
        self._idle.append(client)
        return reply


def build(relay: Relay) -> Server[Any]:
    """The server whose tools are those of the relay's server."""

    async def list_tools(
        _ctx: Context, _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        try:
            nothing: Json = {}
            found = await anyio.to_thread.run_sync(relay.ask, "tools/list", nothing)
        except ClientError as error:
            raise MCPError(types.INTERNAL_ERROR, f"{error.detail}. {error.hint}", error.problem) from error
        return types.ListToolsResult.model_validate(found)

    async def call_tool(_ctx: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        sent = {"name": params.name, "arguments": params.arguments or {}}
        try:
            found = await anyio.to_thread.run_sync(relay.ask, "tools/call", sent)
        except ClientError as error:
            text = types.TextContent(type="text", text=f"{error.detail}. {error.hint}")
            return types.CallToolResult(content=[text], structured_content=error.problem, is_error=True)
        return types.CallToolResult.model_validate(found)

    return Server(
        "builderos",
        version=metadata.version("builderos"),
        title="BuilderOS",
        instructions=_INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def locate() -> str:
    """The address of the server: BUILDEROS_URL, or the local server, started when none answers."""
    return os.environ.get("BUILDEROS_URL") or local.ensure(configured_home()).url


def speaker() -> Callable[[str], str | None]:
    """As whom to speak: BUILDEROS_TOKEN, or whoever signed in, as the file BUILDEROS_LOGIN of the command line says."""
    given, file = os.environ.get("BUILDEROS_TOKEN") or None, os.environ.get("BUILDEROS_LOGIN")
    if given is not None or not file:
        return lambda _: given
    kept = Kept(Path(file))
    return lambda url: signing_in.access_token(kept, lambda: Client(url))


async def serve(relay: Relay) -> None:
    """Relay until stdin ends."""
    server = build(relay)
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


def main() -> int:
    """Serve on stdin and stdout; returns the exit code."""
    try:
        relay = Relay(locate, speaker())
        anyio.run(serve, relay)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
