"""`/healthz` (the process answers), `/readyz` (the database answers), `/openapi.json` (the contract)."""

from typing import Any

import anyio
from fastapi import FastAPI
from fastapi.responses import JSONResponse

from builderos.core.application import Application
from builderos.core.database import Database
from builderos.core.problems import Problem
from builderos.engine.durable import Durable
from builderos.engine.service import Engine, State


def add_health(api: FastAPI, app: Application) -> None:
    """Add the routes that need no credential and do nothing."""

    async def healthz() -> JSONResponse:
        """Ask whether the process answers."""
        return JSONResponse({"status": "ok"})

    async def readyz() -> JSONResponse:
        """Ask whether the database answers, and what the schedules are doing."""

        def ask() -> None:
            with app.context.get(Database).connection() as conn:
                conn.execute("select 1")

        try:
            await anyio.to_thread.run_sync(ask)
        except Problem as problem:
            return JSONResponse({"status": "unavailable", "detail": problem.detail}, 503)
        return JSONResponse({"status": "ready", "engine": _engine_state(app)})

    async def contract() -> JSONResponse:
        """Read this contract."""
        return JSONResponse(api.openapi())

    async def root() -> JSONResponse:
        return JSONResponse(
            {
                "name": "BuilderOS",
                "start": "POST /sandbox/init opens a workspace; /gpt/instructions tells a chat model how to use it",
                "contract": "/openapi.json",
                "chat": "/gpt/openapi.json",
                "mcp": "/mcp",
                "health": "/readyz",
            }
        )

    api.add_api_route("/", root, methods=["GET"], include_in_schema=False)
    said = {"content": {"application/json": {"schema": {"type": "object"}}}}
    for path, name, handler in (
        ("/healthz", "health", healthz), ("/readyz", "ready", readyz), ("/openapi.json", "getContract", contract)
    ):  # fmt: skip
        responses: dict[int | str, Any] = {200: {"description": "Yes.", **said}}
        if name == "ready":
            responses[503] = {"description": "Not now.", **said}
        api.add_api_route(
            path, handler, methods=["GET"], operation_id=name, summary=handler.__doc__, tags=["contract"],
            responses=responses, response_class=JSONResponse, response_model=None,
        )  # fmt: skip


def health_only(app: Application) -> FastAPI:
    """`/healthz` and `/readyz` of a process without doors: it is ready while its engine runs."""
    api = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    async def healthz() -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def readyz() -> JSONResponse:
        state, load = _engine_state(app), app.context.get(Durable).load
        return JSONResponse(
            {"status": "ready" if state == "running" else "unavailable", "engine": state, "load": load},
            200 if state == "running" else 503,
        )

    api.add_api_route("/healthz", healthz, methods=["GET"], response_model=None)
    api.add_api_route("/readyz", readyz, methods=["GET"], response_model=None)
    return api


def _engine_state(app: Application) -> State:
    """A server whose schedules are still starting, or run in another process, serves requests all the same."""
    try:
        return app.context.get(Engine).state
    except KeyError:
        return "off"
