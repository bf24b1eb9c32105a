"""`/mcp` of the HTTP server. The library behind it is loaded by the first message: the server starts without it."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup, TaskStatus
from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from builderos.core.application import Application
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.interfaces.http.edge import allowed_hosts

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

PATH = "/mcp"


def add_mcp(api: FastAPI, app: Application) -> AbstractAsyncContextManager[None]:
    """Serve MCP at `/mcp`; the result is to be held open while the server runs."""
    door = Door(app)
    api.router.routes.append(Route(PATH, endpoint=door, name="mcp", include_in_schema=False))
    return door.open()


class Door:
    """The ASGI application behind `/mcp`."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._settings = app.context.get(Settings)
        self._hosts = allowed_hosts(self._settings)
        self._starting = anyio.Lock()
        self._tasks: TaskGroup | None = None
        self._serving: ASGIApp | None = None

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """The time in which messages are taken; leaving it ends what still runs."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            try:
                yield
            finally:
                self._tasks = self._serving = None
                tasks.cancel_scope.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one message. Raises `Problem` for what is no message."""
        scope["state"]["incoming"].seen.operation = "mcp"
        self._check(scope)
        await (await self._ready())(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if "origin" in headers and not self._is_ours(headers["origin"], headers.get("host", "")):
            raise Problem(
                "policy_denied", "pages of other sites may not use this server",
                hint="Call it from a program, or from a page that it served itself.", policy_rule="same-site",
            )  # fmt: skip
        if scope["method"] != "POST":
            raise Problem(
                "method_not_allowed",
                "messages are sent with POST",
                hint="There are no sessions and no server streams.",
            )

    def _is_ours(self, origin: str, host: str) -> bool:
        """Whether a browser's page comes from this server: a page elsewhere must not reach it through the browser."""
        try:
            name = urlsplit(origin).hostname or ""
            return name in (self._hosts if self._hosts is not None else {urlsplit("//" + host).hostname})
        except ValueError:
            return False

    async def _ready(self) -> ASGIApp:
        async with self._starting:
            if self._serving is None:
                if self._tasks is None:
                    raise Problem("unavailable", "the server is not running", hint="Try again in a moment.")
                manager = await anyio.to_thread.run_sync(self._build)
                await self._tasks.start(_run, manager)
                self._serving = manager.handle_request
            return self._serving

    def _build(self) -> "StreamableHTTPSessionManager":
        from .server import build_manager

        return build_manager(self._app, self._app.context.get(anyio.CapacityLimiter))


async def _run(
    manager: "StreamableHTTPSessionManager", *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    async with manager.run():
        task_status.started()
        await anyio.sleep_forever()
