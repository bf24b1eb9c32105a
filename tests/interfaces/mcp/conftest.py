"""A server on a real port, and the real MCP client over both transports and in both protocol eras."""

import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import anyio
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from tests.support.databases import Databases
from tests.support.ports import live
from tests.support.world import World, world_in_temp

Transport = Literal["http", "stdio"]


@dataclass(frozen=True)
class Way:
    """One way to reach the tools."""

    transport: Transport
    mode: Literal["auto", "legacy"]
    url: str

    @asynccontextmanager
    async def client(self, token: str | None = None) -> AsyncIterator[Client]:
        """The real client, connected; `token` goes where this transport carries a credential."""
        if self.transport == "stdio":
            env = {k: v for k, v in os.environ.items() if not k.startswith("BUILDEROS_")} | {
                "BUILDEROS_URL": self.url
            }
            env |= {"BUILDEROS_TOKEN": token} if token else {}
            program = StdioServerParameters(
                command=sys.executable, args=["-m", "builderos.interfaces.mcp.stdio"], env=env
            )
            async with Client(program, mode=self.mode) as client:
                yield client
            return
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=120) as http,
            Client(streamable_http_client(self.url + "/mcp", http_client=http), mode=self.mode) as client,
        ):
            yield client

    def run(self, story: Callable[[Client], Any], token: str | None = None) -> Any:
        """Run `await story(client)` to its end."""

        async def whole() -> Any:
            async with self.client(token) as client:
                return await story(client)

        with anyio.from_thread.start_blocking_portal() as portal:
            return portal.call(whole)


@pytest.fixture(scope="module")
def shared_world(databases: Databases) -> Iterator[World]:
    with databases.fresh() as database, world_in_temp(database) as made:
        yield made


@pytest.fixture(scope="module")
def url(shared_world: World) -> Iterator[str]:
    with live(shared_world.asgi) as address:
        yield address


@pytest.fixture(params=["http-auto", "http-legacy", "stdio-auto", "stdio-legacy"])
def way(request: pytest.FixtureRequest, url: str) -> Way:
    transport, _, mode = request.param.partition("-")
    return Way(transport, mode, url)


@pytest.fixture
def http_way(url: str) -> Way:
    return Way("http", "auto", url)
