"""`POST /v1/endpoints/{id}/invoke`: a document for the model behind an endpoint, and what that answers, as it is.

Who may call is asked in a worker thread; no transaction is open while the model works.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from builderos.core.application import Application
from builderos.core.clock import utcnow
from builderos.core.problems import Problem
from builderos.workloads.endpoints import service as endpoints

from .letting_in import Admissions, Waiting
from .problem import crash_response, problem_response
from .serve import Incoming

log = logging.getLogger("builderos.endpoints")
PATH: Final = "/v1/endpoints/{id}/invoke"
NAME: Final = "invokeEndpoint"
JSON: Final = "application/json"
STREAM: Final = "text/event-stream"
ANSWER_S: Final = 60.0
WAKE_S: Final = 60.0
LOOK_S: Final = 0.02
ANSWER_MOST: Final = 64 * 1024 * 1024
SHADOWS: Final = 16
SHADOW_MOST: Final = 1024 * 1024
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
    # The framework takes longer over a call than all else: models are asked many times a second.
    families = getattr(api.state, "families", ())
    api.state.families = (*families, (*PATH.split("{id}"), door))
    return door.open()


@dataclass(slots=True)
class Answer:
    """What becomes of one call. `reply`: None where the model's process did not answer."""

    chosen: endpoints.Chosen
    began: float
    reply: Any
    ms: float


class _Passed(Response):
    """For the framework, which wants an answer: the door gives it by itself."""

    def __init__(self, door: "Door") -> None:
        super().__init__()
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._door(scope, receive, send)


class Door:
    """Passes documents on."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._lines: dict[Path, Any] = {}
        self._admissions = Admissions(app)
        self._shadows: set[asyncio.Task[None]] = set()
        self._beside = anyio.CapacityLimiter(1)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """While the server runs."""
        yield
        for task in self._shadows:
            task.cancel()
        for lines in self._lines.values():
            lines.close()

    async def invoke(self, _request: Request) -> Response:
        """One call that came by way of the framework."""
        return _Passed(self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One call."""
        incoming: Incoming = scope["state"]["incoming"]
        incoming.seen.operation = NAME
        answer: Answer | None
        try:
            body = await _whole(receive)
            answer = None if body is None else await self._answer(scope, incoming, body)
        except Problem as problem:
            await problem_response(problem, incoming.request_id)(scope, receive, send)
            return
        except Exception as error:  # noqa: BLE001 - logged there
            await crash_response(error, incoming.request_id)(scope, receive, send)
            return
        if answer is not None:
            await self._send(answer, send)
            self._sample(answer, body or b"", incoming.request_id)
            self._ask_shadow(answer, body or b"")

    async def _answer(self, scope: Scope, incoming: Incoming, body: bytes) -> "Answer":
        """What the model says. Raises `Problem`."""
        head, tail = PATH.split("{id}")
        which: str = scope["path"][len(head) : -len(tail)]
        waiting = self._admissions.let_in(incoming, which)
        wants = Headers(scope=scope).get("accept", "")
        accept = STREAM if STREAM in wants else ""
        answer = await self._asked(await waiting.chosen, body, accept)
        final = await self._noted(waiting, answer)
        if final.deployment_id != answer.chosen.deployment_id:  # the traffic was changed meanwhile
            await _unheard(answer)
            answer = await self._asked(final, body, accept)
        answer.chosen = final
        if answer.reply is None or answer.reply.stream is None:
            self._count(answer)
        if answer.reply is None:
            raise Problem(
                "unavailable", "the model did not answer", hint="Try again; its deployment is started anew."
            )
        return answer

    async def _asked(self, chosen: endpoints.Chosen, body: bytes, accept: str) -> "Answer":
        began = time.perf_counter()
        reply = await self._ask(chosen.deployment_id, body, accept)
        return Answer(chosen, began, reply, (time.perf_counter() - began) * 1000)

    async def _noted(self, waiting: Waiting, answer: "Answer") -> endpoints.Chosen:
        """What answers, when the access is on the disk: before that no answer leaves. Raises `Problem`."""
        try:
            return await waiting.noted
        except BaseException:
            await _unheard(answer)
            raise

    def _count(self, answer: "Answer") -> None:
        chosen, status = answer.chosen, 503 if answer.reply is None else answer.reply.status
        tally = self._app.context.get(endpoints.Keeper).tally
        tally.count(chosen.org_id, chosen.endpoint_id, chosen.deployment_id, utcnow(), status, answer.ms)

    async def _send(self, answer: "Answer", send: Send) -> None:
        reply = answer.reply
        assert reply is not None
        headers = [(b"x-model-deployment", answer.chosen.deployment_id.encode())]
        if reply.stream is None:
            headers += [(b"content-type", JSON.encode()), (b"content-length", b"%d" % len(reply.body))]
            await send({"type": "http.response.start", "status": reply.status, "headers": headers})
            await send({"type": "http.response.body", "body": reply.body})
            return
        headers.append((b"content-type", STREAM.encode()))
        try:
            async with contextlib.aclosing(reply.stream) as pieces:
                await send({"type": "http.response.start", "status": reply.status, "headers": headers})
                async for piece in pieces:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
        finally:
            answer.ms = (time.perf_counter() - answer.began) * 1000
            self._count(answer)

    def _sample(self, answer: "Answer", body: bytes, request_id: str) -> None:
        """Keep what was asked and answered, where the endpoint does; what is told piece by piece has no such answer."""
        chosen, reply = answer.chosen, answer.reply
        if chosen.rate and reply is not None and random.random() < chosen.rate:  # noqa: S311 - no secret
            self._app.context.get(endpoints.Keeper).samples.add(
                chosen,
                utcnow(),
                request_id,
                status=reply.status,
                ms=answer.ms,
                asked=body,
                answered=reply.body,
            )

    def _ask_shadow(self, answer: "Answer", body: bytes) -> None:
        """Have the shadow answer, too, behind the caller's back; where there is much to do, it is spared."""
        chosen, reply = answer.chosen, answer.reply
        if chosen.shadow_id is None or reply is None or reply.stream is not None or reply.status != 200:
            return
        if len(body) > SHADOW_MOST or len(reply.body) > SHADOW_MOST:
            return
        if len(self._shadows) < SHADOWS:
            task = asyncio.get_running_loop().create_task(self._compare(chosen, body, reply.body))
            self._shadows.add(task)
            task.add_done_callback(self._compared)

    async def _compare(self, chosen: endpoints.Chosen, body: bytes, given: bytes) -> None:
        assert chosen.shadow_id is not None
        unheard = await self._ask(chosen.shadow_id, body, "")
        same = False
        if unheard is not None and unheard.status == 200 and unheard.stream is None:
            same = await anyio.to_thread.run_sync(endpoints.same, given, unheard.body, limiter=self._beside)
        tally = self._app.context.get(endpoints.Keeper).tally
        tally.compare(chosen.org_id, chosen.endpoint_id, chosen.shadow_id, utcnow(), same=same)

    def _compared(self, task: asyncio.Task[None]) -> None:
        self._shadows.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("a shadow could not be asked", exc_info=error)

    async def _ask(self, deployment_id: str, body: bytes, accept: str) -> Any:
        """What the process of a deployment answers with; None where it does not."""
        from builderos.execution.serving.service import Silent

        life = self._app.context.get(endpoints.Keeper).life(deployment_id)
        seat = await _seat(life) if life is not None else None
        if life is None or seat is None:
            return None
        replica, door = seat
        try:
            return await self._to(door).post("/invoke", body, ANSWER_S, accept)
        except (Silent, OSError):
            return None
        finally:
            life.leave(replica)

    def _to(self, door: Path) -> Any:
        from builderos.execution.serving.service import Lines

        if door not in self._lines:
            for gone in [
                one for one in self._lines if not one.exists()
            ]:  # each process has a door of its own
                self._lines.pop(gone).close()
            self._lines[door] = Lines(door, ANSWER_MOST)
        return self._lines[door]


async def _seat(life: Any) -> Any:
    """A process that takes a call. Where there is none, the call wakes one and waits; None where none comes."""
    if (found := life.enter()) is not None or not life.comes:
        return found
    life.waiting += 1
    try:
        for _ in range(int(WAKE_S / LOOK_S)):
            await asyncio.sleep(LOOK_S)
            if (found := life.enter()) is not None or not life.comes:
                return found
        return None
    finally:
        life.waiting -= 1


async def _unheard(answer: Answer) -> None:
    if answer.reply is not None and answer.reply.stream is not None:
        await answer.reply.stream.aclose()


async def _whole(receive: Receive) -> bytes | None:
    """The body; None where the client hung up in the middle of it."""
    pieces: list[bytes] = []
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return None
        pieces.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(pieces)
