"""`POST /v1/endpoints/{id}/invoke`: a document for the model behind an endpoint, and what that answers, as it is.

Who may call is asked in a worker thread; no transaction is open while the model works.
"""

import asyncio
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
from builderos.core.unit import Call
from builderos.trust.identity.service import Found
from builderos.trust.policy import service as policy
from builderos.workloads.endpoints import service as endpoints

from .records import note_refusal
from .serve import Incoming, admit

PATH: Final = "/v1/endpoints/{id}/invoke"
NAME: Final = "invokeEndpoint"
JSON: Final = "application/json"
ANSWER_S: Final = 60.0
AT_ONCE: Final = 64
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
        self._waiting: dict[
            tuple[str, str, str], list[tuple[Incoming, asyncio.Future[endpoints.Chosen]]]
        ] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """While the server runs."""
        yield
        for line in self._lines.values():
            await line.close()

    async def invoke(self, request: Request) -> Response:
        """One call."""
        body = await request.body()
        chosen = await self._let_in(request.state.incoming, request.path_params["id"])
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

    async def _let_in(self, incoming: Incoming, which: str) -> endpoints.Chosen:
        """What answers. Calls of one credential to one address that arrive together are let in together: whoever comes
        while a group is let in belongs to the next one.
        """
        key, loop = (incoming.bearer or "", incoming.org_slug or "", which), asyncio.get_running_loop()
        done: asyncio.Future[endpoints.Chosen] = loop.create_future()
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.append((incoming, done))
        else:
            self._waiting[key] = [(incoming, done)]
            task = loop.create_task(self._work(key))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await done

    async def _work(self, key: tuple[str, str, str]) -> None:
        limiter = self._app.context.get(anyio.CapacityLimiter)
        while self._waiting[key]:
            group, self._waiting[key] = self._waiting[key][:AT_ONCE], self._waiting[key][AT_ONCE:]
            admit_all = functools.partial(self._admit, [incoming for incoming, _ in group], key[2])
            try:
                found: list[endpoints.Chosen | Problem] = await anyio.to_thread.run_sync(
                    admit_all, limiter=limiter
                )
            except Exception as error:  # noqa: BLE001 - each of them is told
                found = [error] * len(group)  # type: ignore[list-item]
            for (_, done), one in zip(group, found, strict=True):
                if not done.done():
                    done.set_exception(one) if isinstance(one, Exception) else done.set_result(one)
        del self._waiting[key]

    def _admit(self, group: list[Incoming], which: str) -> list[endpoints.Chosen | Problem]:
        """In a worker thread."""
        context = self._app.context
        known: dict[str, Found] = {}
        found: list[endpoints.Chosen | Problem | None] = []
        calls: list[Call] = []
        for incoming in group:
            try:
                calls.append(admit(self._app, incoming, f"{NAME}@1", known))
                found.append(None)
            except Problem as problem:
                context.get(Metrics).refused(problem)
                found.append(problem)
        try:
            chosen = iter(endpoints.admit(context, calls, which) if calls else [])
        except policy.Refused as refused:
            for call in calls:
                note_refusal(context, call, refused)
            raise
        return [next(chosen) if one is None else one for one in found]

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
