"""`/mcp` of the HTTP server. The library behind it is loaded by the first message: the server starts without it."""

import dataclasses
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
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from builderos.core.application import Application
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.interfaces.http.challenge import audience_of
from builderos.interfaces.http.edge import allowed_hosts
from builderos.interfaces.http.problem import problem_response
from builderos.interfaces.http.serve import Incoming, check_credential
from builderos.trust.orgs.schema import is_slug

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

PATH = "/mcp"
# A token of a workspace stands for itself where it is over: `initSandbox` then opens another one and says so.
WORKSPACE = "bos_rt_"


def add_mcp(api: FastAPI, app: Application) -> AbstractAsyncContextManager[None]:
    """Serve MCP at `/mcp`, and at `/mcp/{org_slug}` for members of one organisation.

    The result is to be held open while the server runs.
    """
    door = Door(app)
    for path in (PATH, PATH + "/{org_slug}"):
        api.router.routes.append(Route(path, endpoint=door, name="mcp", include_in_schema=False))
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
        incoming = _addressed(scope)
        scope["state"]["incoming"] = incoming
        if incoming.bearer is None:
            if incoming.org_slug is not None or not self._settings.anonymous:
                raise _sign_in()
        elif incoming.org_slug is not None or not incoming.bearer.startswith(WORKSPACE):
            limiter = self._app.context.get(anyio.CapacityLimiter)
            await anyio.to_thread.run_sync(check_credential, self._app, incoming, limiter=limiter)
        await (await self._ready())(scope, receive, _stepping_up(scope, receive, send))

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


def _addressed(scope: Scope) -> Incoming:
    """What the edge knows, with the organisation that the address names."""
    slug: str | None = scope.get("path_params", {}).get("org_slug")
    if slug is not None and not is_slug(slug):
        raise Problem("not_found", "there is nothing at this address", hint=f"Messages go to {PATH}.")
    known: Incoming = scope["state"]["incoming"]
    return dataclasses.replace(known, audience=audience_of(scope["path"]), org_slug=slug)


def _sign_in() -> Problem:
    return Problem(
        "unauthenticated", "this needs a credential",
        hint="Sign in with OAuth, or send a token as Authorization: Bearer ….",
    )  # fmt: skip


def _stepping_up(scope: Scope, receive: Receive, send: Send) -> Send:
    """Answer with the HTTP status of a refusal that the person could lift by agreeing to more.

    Programs ask for that by the status alone; the message that holds the refusal is left out (`lacking` in the state).
    """
    replaced = False

    async def answer(message: Message) -> None:
        nonlocal replaced
        lacking: Problem | None = scope["state"].get("lacking")
        if replaced:
            return
        if lacking is not None and message["type"] == "http.response.start":
            replaced = True
            await problem_response(lacking, scope["state"]["incoming"].request_id)(scope, receive, send)
            return
        await send(message)

    return answer


async def _run(
    manager: "StreamableHTTPSessionManager", *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    async with manager.run():
        task_status.started()
        await anyio.sleep_forever()
