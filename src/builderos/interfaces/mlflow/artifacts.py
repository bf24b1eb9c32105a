"""Files, as MLflow's clients put and get them: `mlflow-artifacts/artifacts/<experiment>/<run>/artifacts/<path>`."""

import functools
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any, Final
from urllib.parse import parse_qs

import anyio
import anyio.from_thread
import anyio.to_thread
import orjson
from anyio.abc import ObjectReceiveStream
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from builderos.assets.artifacts import service as kept
from builderos.core.application import Application
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.core.unit import Call, Unit, perform
from builderos.interfaces.http.records import note_refusal
from builderos.interfaces.http.serve import Incoming
from builderos.trust.policy import service as policy
from builderos.workloads.experiments.service import files

from .shapes import NoEndpoint
from .words import Body, invalid

PREFIX: Final = "2.0/mlflow-artifacts/artifacts"
_PIECE: Final = 1024 * 1024
_AHEAD: Final = 4
_SEND_S: Final = 60.0
_ROOT: Final = "artifacts"


def list_of_run(unit: Unit, body: Body) -> dict[str, Any]:
    """`artifacts/list`."""
    run_id, folder = body.text("run_id", body.any_text("run_uuid") or None), body.any_text("path")
    owner = unit_root(unit, run_id)
    return {"root_uri": owner, **_shown(files.listed(unit, run_id, folder), "")}


def unit_root(unit: Unit, run_id: str) -> str:
    """Where the files of a run lie, as clients call it."""
    return f"mlflow-artifacts:/{files.experiment_of(unit, run_id)}/{run_id}/{_ROOT}"


def _shown(listed: list[files.File], prefix: str) -> dict[str, Any]:
    if not listed:
        return {}
    found: list[dict[str, Any]] = []
    for file in listed:
        size = {} if file.size is None else {"file_size": file.size}
        found.append({"path": file.path.removeprefix(prefix), "is_dir": file.size is None, **size})
    return {"files": found}


def place_of(path: str) -> tuple[str, str]:
    """The owner, and the path of one of its files or folders. Raises `validation_failed` for what is neither.

    `<experiment>/<run>/artifacts/<path>`, and of a logged model or a trace
    `<experiment>/models/<model>/artifacts/<path>`, `<experiment>/traces/<trace>/artifacts/<path>`.
    """
    parts = path.split("/")
    if len(parts) > 2 and parts[1] in ("models", "traces"):
        parts = [parts[0], *parts[2:]]
    if len(parts) < 3 or parts[2] != _ROOT or not parts[1]:
        raise Problem("invalid_path", "Invalid path", hint="Files belong to a run or to a logged model.")
    return parts[1], "/".join(parts[3:])


class Artifacts:
    """Takes and gives bytes as they come: none of them wait for a slow client in a thread that others need."""

    def __init__(self, app: Application, admitted: Callable[[Incoming, str], Call]) -> None:
        self._app = app
        self._admitted = admitted
        self._threads = anyio.CapacityLimiter(app.context.get(Settings).workers)

    async def serve(self, rest: str, scope: Scope, receive: Receive, send: Send, incoming: Incoming) -> None:
        """One request; `rest` is what follows the name of the interface."""
        method, path = scope["method"], rest.removeprefix("/")
        incoming.seen.operation = f"mlflow-artifacts-{method.lower()}"
        call = await self._thread(self._admitted, incoming, incoming.seen.operation)
        if method == "GET" and not path:
            query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            owner, folder = place_of(query.get("path", [""])[0].rstrip("/"))
            document = await self._thread(self._list, call, owner, folder)
            await _json(send, document)
        elif method == "GET":
            await self._give(call, path, send)
        elif method == "PUT":
            await self._take(call, path, Headers(scope=scope), receive)
            await _json(send, {})
        elif method == "DELETE":
            owner, name = place_of(path)
            await self._thread(self._perform, call, functools.partial(files.remove, owner=owner, path=name))
            await _json(send, {})
        else:
            raise NoEndpoint(scope["path"])

    def _list(self, call: Call, owner: str, folder: str) -> dict[str, Any]:
        found = self._perform(call, lambda unit: files.listed(unit, owner, folder), read_only=True)
        return _shown(found, f"{folder}/" if folder else "")

    async def _take(self, call: Call, path: str, headers: Headers, receive: Receive) -> None:
        owner, name = place_of(path)
        files.check(name)
        await self._thread(
            self._perform,
            call,
            functools.partial(files.owned, owner=owner, act="experiment.write"),
            read_only=True,
        )
        kind = headers.get("content-type")
        ahead, behind = anyio.create_memory_object_stream[bytes | Problem](_AHEAD)

        async def coming() -> None:
            async with ahead:
                try:
                    async for piece in _pieces(receive):
                        await ahead.send(piece)
                except Problem as problem:  # else what came so far would be taken for the whole
                    await ahead.send(problem)

        def source() -> Iterator[bytes]:
            while (piece := anyio.from_thread.run(_next, behind)) is not None:
                if isinstance(piece, Problem):
                    raise piece
                yield piece

        failed: Problem | None = None
        # What comes is received while what came before is hashed and written.
        async with anyio.create_task_group() as tasks, behind:
            tasks.start_soon(coming)
            try:
                await self._thread(functools.partial(self._put, call, owner, name, kind, source()))
            except Problem as problem:
                failed = problem
            tasks.cancel_scope.cancel()
        if failed is not None:
            raise failed

    def _put(self, call: Call, owner: str, name: str, kind: str | None, source: Iterator[bytes]) -> None:
        content = kept.prepare(
            self._app.context, call.actor.org_id, source, path=name, media_type=kind or None
        )
        self._perform(call, lambda unit: files.put(unit, owner, name, content))

    async def _give(self, call: Call, path: str, send: Send) -> None:
        owner, name = place_of(path)
        file, handle = await self._thread(
            self._perform, call, functools.partial(files.opened, owner=owner, path=name), read_only=True
        )
        chunks: Iterator[bytes] = handle.read(0, file.size)
        first = await self._thread(next, chunks, None)
        headers = [
            (b"content-type", b"application/octet-stream"), (b"content-length", str(file.size).encode()),
            (b"content-disposition", b"attachment"),
        ]  # fmt: skip
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        chunk = first
        while chunk is not None:
            with anyio.fail_after(_SEND_S):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            chunk = await self._thread(next, chunks, None)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _perform(self, call: Call, verb: Callable[[Unit], Any], *, read_only: bool = False) -> Any:
        context = self._app.context
        try:
            return perform(context, call, verb, read_only=read_only, settled=read_only)
        except policy.Refused as refused:
            note_refusal(context, call, refused)
            raise

    async def _thread(self, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
        return await anyio.to_thread.run_sync(
            functools.partial(function, *args, **named), limiter=self._threads
        )


async def _pieces(receive: Receive) -> AsyncGenerator[bytes]:
    """The body in pieces worth a way to another thread. Raises `validation_failed` where it breaks off."""
    held, size, more = list[bytes](), 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise invalid("the request broke off")
        held.append(message.get("body", b""))
        size += len(held[-1])
        more = message.get("more_body", False)
        if size >= _PIECE or not more:
            whole = b"".join(held)
            held, size = [], 0
            if whole:
                yield whole


async def _next(pieces: ObjectReceiveStream[bytes | Problem]) -> bytes | Problem | None:
    """The next of them; None behind the last."""
    try:
        return await pieces.receive()
    except anyio.EndOfStream:
        return None


async def _json(send: Send, document: dict[str, Any]) -> None:
    body = orjson.dumps(document)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
