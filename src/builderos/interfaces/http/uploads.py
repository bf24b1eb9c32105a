"""`PUT /v1/artifacts/uploads/{id}?offset=…`: the bytes of an upload, straight to where they stay.

What arrived is acknowledged even where the connection broke in the middle: whoever sends goes on behind it.
"""

import functools
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final

import anyio
from fastapi import FastAPI
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from builderos.assets.artifacts.schema import Upload
from builderos.assets.artifacts.service import uploading
from builderos.core.application import Application
from builderos.core.metrics import Metrics
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.trust.policy import service as policy

from .records import note_refusal
from .serve import Incoming, admit

PATH: Final = "/v1/artifacts/uploads/{id}"
NAME: Final = "sendUpload"
BYTES: Final = "application/octet-stream"
_PIECE: Final = 1024 * 1024
_SAYS: Final = """\
Send the next bytes of an upload, at most `max_part` of them. `offset` is how many are there already. The reply says
how far it got; with the last bytes, `artifact` is what became of it. After a break, ask getUpload for the offset."""


def add_uploads(api: FastAPI, app: Application) -> None:
    """Add the door."""
    door = Door(app)
    body = {"required": True, "content": {BYTES: {"schema": {"type": "string", "format": "binary"}}}}
    offset = {"name": "offset", "in": "query", "required": True, "schema": {"type": "integer", "minimum": 0},
              "description": "How many bytes are there already."}  # fmt: skip
    which = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    api.add_api_route(
        PATH, door.receive, methods=["PUT"], operation_id=NAME, tags=["artifacts"], response_model=Upload,
        summary="Send the next bytes of an upload.", description=_SAYS,
        responses={"4XX": {"description": ""}, "5XX": {"description": ""}},
        openapi_extra={"requestBody": body, "parameters": [which, offset], "security": [{"token": []}],
                       "x-profile": "platform", "x-openai-isConsequential": False},
    )  # fmt: skip


class Door:
    """Receives parts. Whatever touches database or disk runs in a worker thread, and none waits for a slow sender."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._threads = anyio.CapacityLimiter(app.context.get(Settings).workers)

    async def receive(self, request: Request) -> Response:
        """One part."""
        context, incoming = self._app.context, request.state.incoming
        call = await self._thread(self._call, incoming)
        offset = request.query_params.get("offset", "")
        if not offset.isdecimal() or len(offset) > 18:
            raise Problem("validation_failed", "offset has to be a number", hint="Ask getUpload for it.")
        begin = functools.partial(uploading.receive, context, call, request.path_params["id"], int(offset))
        try:
            receiving = await self._thread(begin)
        except policy.Refused as refused:
            await self._thread(note_refusal, context, call, refused)
            raise
        done = await self._take(request, receiving)
        return Response(done.model_dump_json(), media_type="application/json")

    async def _take(self, request: Request, receiving: uploading.Receiving) -> Upload:
        try:
            async for piece in _pieces(request):
                await self._thread(receiving.write, piece)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._thread(receiving.abandon)
            raise
        return await self._thread(receiving.end)

    def _call(self, incoming: Incoming) -> Any:
        try:
            return admit(self._app, incoming, f"{NAME}@1")
        except Problem as problem:
            self._app.context.get(Metrics).refused(problem)
            raise

    async def _thread(self, function: Callable[..., Any], *args: Any) -> Any:
        return await anyio.to_thread.run_sync(functools.partial(function, *args), limiter=self._threads)


async def _pieces(request: Request) -> AsyncGenerator[bytes]:
    """The body in pieces worth writing; of one that breaks off, what has come: the next part goes on behind it."""
    held = bytearray()
    try:
        async for chunk in request.stream():
            held += chunk
            if len(held) >= _PIECE:
                yield bytes(held)
                held.clear()
    except ClientDisconnect:
        pass
    if held:
        yield bytes(held)


def is_part(path: str, method: str) -> bool:
    """Whether a request brings a part: the edge lets it bring more than a document, and nothing but bytes."""
    return method == "PUT" and path.startswith(PATH.removesuffix("{id}"))
