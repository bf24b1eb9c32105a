"""`/healthz` (the process answers), `/readyz` (the database answers), `/openapi.json` (the contract)."""

import anyio
from fastapi import FastAPI
from fastapi.responses import JSONResponse

from builderos.core.application import Application
from builderos.core.database import Database
from builderos.core.problems import Problem
from builderos.engine.service import Engine, State


def add_health(api: FastAPI, app: Application) -> None:
    """Add the routes that need no credential and do nothing."""

    async def healthz() -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def readyz() -> JSONResponse:
        def ask() -> None:
            with app.context.get(Database).connection() as conn:
                conn.execute("select 1")

        try:
            await anyio.to_thread.run_sync(ask)
        except Problem as problem:
            return JSONResponse({"status": "unavailable", "detail": problem.detail}, 503)
        return JSONResponse({"status": "ready", "engine": _engine_state(app)})

    async def contract() -> JSONResponse:
        return JSONResponse(api.openapi())

    for path, handler in (("/healthz", healthz), ("/readyz", readyz), ("/openapi.json", contract)):
        api.add_api_route(path, handler, methods=["GET"], include_in_schema=False)


def _engine_state(app: Application) -> State:
    """A server whose schedules are still starting, or run in another process, serves requests all the same."""
    try:
        return app.context.get(Engine).state
    except KeyError:
        return "off"
