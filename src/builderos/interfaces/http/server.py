"""The FastAPI application of one running server."""

import functools
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
from fastapi import FastAPI, Request
from fastapi.dependencies import utils
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from builderos import VERSION
from builderos.core.application import Application
from builderos.core.problems import STATUS, Problem
from builderos.core.settings import Settings

from .contract import install
from .edge import Edge
from .problem import crash_response, problem_response
from .routes import add_routes
from .serve import plainly
from .straight import Straight
from .strict import StrictRoute

DESCRIPTION = """\
Tool routes stand at the root and need no header: `reuse_token`, `tool_version` and `idempotency_key` may be members
of the body. Platform routes stand under `/v1`. Every reply to a tool says in `message` what happened, and names
`repo_name` and `branch`. Every failure is `application/problem+json` with a `code` to branch on and a `hint` what to
do next. The same tools are served over MCP at `/mcp`; chat models find a trimmed document at `/gpt/openapi.json`. Git
clients clone, fetch and push at `/git/{repo}.git` (smart HTTP, in git's own format) with the token as password."""
_BY_STATUS = {401: "unauthenticated", 404: "not_found", 405: "method_not_allowed", 413: "payload_too_large",
              415: "unsupported_media_type"}  # fmt: skip
Extension = Callable[[FastAPI, Application], AbstractAsyncContextManager[None] | None]


def remember_all_forms() -> None:
    """FastAPI remembers the fields of 128 forms. There are more, and a document that is made of fields which were
    forgotten on the way cannot be made; nor should any be worked out anew for a request.
    """
    library: Any = utils
    if library.get_cached_model_fields.cache_info().maxsize is not None:
        library.get_cached_model_fields = functools.cache(library.get_cached_model_fields.__wrapped__)


def build_api(app: Application, extensions: tuple[Extension, ...] = ()) -> FastAPI:
    """All operations as HTTP routes, plus what `extensions` add (git, MCP, health). Not yet wrapped in `Edge`."""
    remember_all_forms()
    settings = app.context.get(Settings)
    limiter = anyio.CapacityLimiter(settings.workers)
    app.context.put(anyio.CapacityLimiter, limiter)  # every door waits for the same threads
    running: list[AbstractAsyncContextManager[None]] = []

    @asynccontextmanager
    async def lifespan(_api: FastAPI) -> AsyncGenerator[None]:
        async with _all(running):
            yield

    api = FastAPI(
        title="BuilderOS", version=VERSION, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False, license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        summary="A safe place to build: isolated Git branches for people and their AIs.", description=DESCRIPTION,
    )  # fmt: skip
    install(api)
    api.router.route_class = StrictRoute
    add_routes(api, app, limiter)
    for extend in extensions:
        manager = extend(api, app)
        if manager is not None:
            running.append(manager)
    _handle_errors(api)
    return api


def wrap(api: FastAPI, app: Application) -> ASGIApp:
    """The server as uvicorn runs it."""
    inner = Straight(Shortcuts(api), app, api.routes)
    return Edge(inner, app.context, getattr(api.state, "dialects", None))


class Shortcuts:
    """Paths whose applications are called at once, without the framework: `api.state.shortcuts`, and those to post to
    with a name in the middle, `api.state.families`. They answer for themselves, whatever happens.
    """

    def __init__(self, api: FastAPI) -> None:
        self._app = api
        self._paths: dict[str, ASGIApp] = getattr(api.state, "shortcuts", {})
        self._families: tuple[tuple[str, str, ASGIApp], ...] = getattr(api.state, "families", ())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        path: str = scope.get("path", "")
        await (self._paths.get(path) or self._member(scope, path))(scope, receive, send)

    def _member(self, scope: Scope, path: str) -> ASGIApp:
        if scope.get("method") == "POST":
            for head, tail, app in self._families:
                if (
                    path.startswith(head)
                    and path.endswith(tail)
                    and path.count("/") == (head + tail).count("/")
                ):
                    return app if len(path) > len(head) + len(tail) else self._app
        return self._app


@asynccontextmanager
async def _all(managers: list[AbstractAsyncContextManager[None]]) -> AsyncGenerator[None]:
    from contextlib import AsyncExitStack

    async with AsyncExitStack() as stack:
        for manager in managers:
            await stack.enter_async_context(manager)
        yield


def _handle_errors(api: FastAPI) -> None:
    async def on_problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return problem_response(error, request.state.incoming.request_id)

    async def on_validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        fields = [
            {"field": ".".join(map(str, e["loc"])), "problem": plainly(e["msg"])} for e in error.errors()
        ]
        problem = Problem(
            "validation_failed",
            "the request does not fit the schema",
            hint="See `fields`.",
            fields=fields[:50],
        )
        return problem_response(problem, request.state.incoming.request_id)

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if isinstance(error.__cause__, Problem):  # FastAPI wraps whatever happens while it reads the body
            return problem_response(error.__cause__, request.state.incoming.request_id)
        code = _BY_STATUS.get(
            error.status_code, "validation_failed" if error.status_code < 500 else "internal"
        )
        problem = Problem(code, str(error.detail), hint="See the list of operations at /openapi.json.")
        assert problem.status == STATUS[code]
        return problem_response(problem, request.state.incoming.request_id, error.headers)

    async def on_crash(request: Request, error: Exception) -> Response:
        return crash_response(error, request.state.incoming.request_id)

    handlers: dict[Any, Any] = {
        Problem: on_problem, RequestValidationError: on_validation, HTTPException: on_http, RecursionError: on_crash,
        Exception: on_crash,
    }  # fmt: skip
    for kind, handler in handlers.items():
        api.add_exception_handler(kind, handler)
