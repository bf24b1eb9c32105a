"""`POST /v1/endpoints/{id}/invoke`: a document for the model behind an endpoint, and what that answers, as it is.

Who may call is asked in a worker thread; no transaction is open while the model works.
"""

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import anyio
import anyio.to_thread
from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from builderos.core.application import Application
from builderos.core.clock import utcnow
from builderos.core.metrics import Metrics
from builderos.core.problems import Problem
from builderos.core.unit import Call
from builderos.trust.identity.service import Found
from builderos.trust.policy import service as policy
from builderos.workloads.endpoints import service as endpoints

from .problem import crash_response, problem_response
from .records import note_refusal
from .serve import Incoming, admit

log = logging.getLogger("builderos.endpoints")
PATH: Final = "/v1/endpoints/{id}/invoke"
NAME: Final = "invokeEndpoint"
JSON: Final = "application/json"
STREAM: Final = "text/event-stream"
ANSWER_S: Final = 60.0
ANSWER_MOST: Final = 64 * 1024 * 1024
SHADOWS: Final = 16
SHADOW_MOST: Final = 1024 * 1024
AT_ONCE: Final = 64
GROUPS: Final = 2
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


Outcome: TypeAlias = "endpoints.Chosen | Exception"


@dataclass(slots=True)
class Waiting:
    """A call that waits to be let in: what answers it, and, later, that the access is on the disk."""

    incoming: Incoming
    chosen: "asyncio.Future[endpoints.Chosen]"
    noted: "asyncio.Future[endpoints.Chosen]"


def _tell(waiting: "Sequence[asyncio.Future[endpoints.Chosen]]", found: "Sequence[Outcome]") -> None:
    for done, one in zip(waiting, found, strict=True):
        if not done.done():
            done.set_exception(one) if isinstance(one, Exception) else done.set_result(one)


def _heard(done: "asyncio.Future[endpoints.Chosen]") -> None:
    if not done.cancelled():
        done.exception()


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
        self._waiting: dict[tuple[str, str, str], list[Waiting]] = {}
        self._working: dict[tuple[str, str, str], int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
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
            self._ask_shadow(answer, body or b"")

    async def _answer(self, scope: Scope, incoming: Incoming, body: bytes) -> "Answer":
        """What the model says. Raises `Problem`."""
        head, tail = PATH.split("{id}")
        which: str = scope["path"][len(head) : -len(tail)]
        waiting = self._let_in(incoming, which)
        chosen = await waiting.chosen
        began = time.perf_counter()
        wants = Headers(scope=scope).get("accept", "")
        reply = await self._ask(chosen.deployment_id, body, STREAM if STREAM in wants else "")
        answer = Answer(chosen, began, reply, (time.perf_counter() - began) * 1000)
        await self._is_noted(waiting, answer)
        if reply is None or reply.stream is None:
            self._count(answer)
        if reply is None:
            raise Problem(
                "unavailable", "the model did not answer", hint="Try again; its deployment is started anew."
            )
        return answer

    async def _is_noted(self, waiting: "Waiting", answer: "Answer") -> None:
        """Return when the access is on the disk: before that no answer leaves. Raises `Problem`."""
        try:
            await waiting.noted
        except BaseException:
            if answer.reply is not None and answer.reply.stream is not None:
                await answer.reply.stream.aclose()
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

    def _let_in(self, incoming: Incoming, which: str) -> "Waiting":
        """Have it asked whether a call may be. Calls of one credential to one address that arrive together are let in
        together: whoever comes while groups are let in belongs to the next one.
        """
        key, loop = (incoming.bearer or "", incoming.org_slug or "", which), asyncio.get_running_loop()
        waiting = Waiting(incoming, loop.create_future(), loop.create_future())
        # Nobody may be there any more to hear of either.
        waiting.chosen.add_done_callback(_heard)
        waiting.noted.add_done_callback(_heard)
        self._waiting.setdefault(key, []).append(waiting)
        if self._working.get(key, 0) < GROUPS:
            self._working[key] = self._working.get(key, 0) + 1
            task = loop.create_task(self._work(key))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return waiting

    async def _work(self, key: tuple[str, str, str]) -> None:
        limiter = self._app.context.get(anyio.CapacityLimiter)
        loop = asyncio.get_running_loop()
        while group := self._waiting.pop(key, []):
            if group[AT_ONCE:]:
                self._waiting[key] = group[AT_ONCE:]
                group = group[:AT_ONCE]

            def early(found: list[Outcome], group: list[Waiting] = group) -> None:
                loop.call_soon_threadsafe(_tell, [one.chosen for one in group], found)

            admit_all = functools.partial(self._admit, [one.incoming for one in group], key[2], early)
            found: list[Outcome]
            try:
                found = await anyio.to_thread.run_sync(admit_all, limiter=limiter)
            except Exception as error:  # noqa: BLE001 - each of them is told
                found = [error] * len(group)
            _tell([one.chosen for one in group], found)
            _tell([one.noted for one in group], found)
        self._working[key] -= 1
        if not self._working[key]:
            del self._working[key]

    def _admit(
        self, group: list[Incoming], which: str, early: "Callable[[list[Outcome]], None]"
    ) -> "list[Outcome]":
        """In a worker thread."""
        context = self._app.context
        known: dict[str, Found] = {}
        refused: list[Problem | None] = []
        calls: list[Call] = []
        for incoming in group:
            try:
                calls.append(admit(self._app, incoming, f"{NAME}@1", known))
                refused.append(None)
            except Problem as problem:
                context.get(Metrics).refused(problem)
                refused.append(problem)

        def whole(chosen: "Sequence[Outcome]") -> "list[Outcome]":
            left = iter(chosen)
            return [next(left) if one is None else one for one in refused]

        try:
            return whole(
                endpoints.admit(context, calls, which, lambda found: early(whole(found))) if calls else []
            )
        except policy.Refused as problem:
            for call in calls:
                note_refusal(context, call, problem)
            raise

    async def _ask(self, deployment_id: str, body: bytes, accept: str) -> Any:
        """What the process of a deployment answers with; None where it does not."""
        from builderos.execution.serving.service import Silent

        door = self._app.context.get(endpoints.Keeper).door(deployment_id)
        if door is None:
            return None
        try:
            return await self._to(door).post("/invoke", body, ANSWER_S, accept)
        except (Silent, OSError):
            return None

    def _to(self, door: Path) -> Any:
        from builderos.execution.serving.service import Lines

        if door not in self._lines:
            for gone in [
                one for one in self._lines if not one.exists()
            ]:  # each process has a door of its own
                self._lines.pop(gone).close()
            self._lines[door] = Lines(door, ANSWER_MOST)
        return self._lines[door]


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
