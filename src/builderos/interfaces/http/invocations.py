"""`POST /v1/endpoints/{id}/invoke`: a document for the model behind an endpoint, and what that answers, as it is.

Who may call is asked in a worker thread; no transaction is open while the model works.
"""

import functools
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from builderos.core.application import Application
from builderos.core.clock import utcnow
from builderos.core.metrics import Metrics
from builderos.core.problems import Problem
from builderos.trust.policy import service as policy
from builderos.workloads.endpoints import service as endpoints

from .records import note_refusal
from .serve import Incoming, admit

PATH: Final = "/v1/endpoints/{id}/invoke"
NAME: Final = "invokeEndpoint"
JSON: Final = "application/json"
ANSWER_S: Final = 60.0
_SAYS: Final = """\
Send a document as MLflow's scoring server takes it (`dataframe_split`, `dataframe_records`, `instances`, `inputs`) or
as the Open Inference Protocol V2 does (`inputs` with `name`, `shape`, `datatype`, `data`). What does not fit the model
is answered with 400 by the model's process; the header `X-Model-Deployment` says which deployment answered."""


def add_invocations(api: FastAPI, app: Application) -> AbstractAsyncContextManager[None]:
    """Add the door. The result is to be held open while the server runs: it keeps lines to the models."""
    door = Door(app)
    anything = {"schema": {"type": "object", "additionalProperties": True}}
    which = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"},
             "description": "Id of the endpoint, or its name."}  # fmt: skip
    api.add_api_route(
        PATH, door.invoke, methods=["POST"], operation_id=NAME, tags=["endpoints"],
        summary="Call the model behind an endpoint.", description=_SAYS,
        responses={"200": {"description": "What the model says.", "content": {JSON: anything}},
                   "4XX": {"description": ""}, "5XX": {"description": ""}},
        openapi_extra={"requestBody": {"required": True, "content": {JSON: anything}}, "parameters": [which],
                       "security": [{"token": []}], "x-profile": "platform", "x-openai-isConsequential": False},
    )  # fmt: skip
    return door.open()


class Door:
    """Passes documents on."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._lines: dict[Path, Any] = {}

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """While the server runs."""
        yield
        for line in self._lines.values():
            await line.close()

    async def invoke(self, request: Request) -> Response:
        """One call."""
        limiter = self._app.context.get(anyio.CapacityLimiter)
        body = await request.body()
        which: str = request.path_params["id"]
        chosen = await anyio.to_thread.run_sync(
            functools.partial(self._admit, request.state.incoming, which), limiter=limiter
        )
        began = time.perf_counter()
        status, answer = await self._ask(chosen, body)
        ms = (time.perf_counter() - began) * 1000
        self._app.context.get(endpoints.Keeper).tally.count(
            chosen.org_id, chosen.endpoint_id, chosen.deployment_id, utcnow(), status, ms
        )
        if answer is None:
            raise Problem(
                "unavailable", "the model did not answer", hint="Try again; its deployment is started anew."
            )
        return Response(answer, status, {"X-Model-Deployment": chosen.deployment_id}, JSON)

    def _admit(self, incoming: Incoming, which: str) -> endpoints.Chosen:
        context = self._app.context
        try:
            call = admit(self._app, incoming, f"{NAME}@1")
        except Problem as problem:
            context.get(Metrics).refused(problem)
            raise
        try:
            return endpoints.admit(context, call, which)
        except policy.Refused as refused:
            note_refusal(context, call, refused)
            raise

    async def _ask(self, chosen: endpoints.Chosen, body: bytes) -> tuple[int, bytes | None]:
        """Status and body that the model's process answers with; 503 and None where it does not."""
        from builderos.execution.serving.service import SILENT

        door = self._app.context.get(endpoints.Keeper).door(chosen.deployment_id)
        if door is None:
            return 503, None
        try:
            return await self._line(door).post("/invoke", body, ANSWER_S)
        except SILENT:
            return 503, None

    def _line(self, door: Path) -> Any:
        from builderos.execution.serving.service import Inside

        if door not in self._lines:
            self._lines[door] = Inside.at(door)
        return self._lines[door]
