"""`/openai/v1/…` of the HTTP server: OpenAI's bodies and error shape, our credentials, policy, budgets and ledger.

Bytes are passed on as they come. Whatever touches the database runs in a worker thread, all of it in one go.
"""

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, TypeVar

import anyio
import anyio.to_thread
import orjson
from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from builderos.core.application import Application
from builderos.core.problems import Problem
from builderos.core.unit import perform
from builderos.execution.gateway import service as gateway
from builderos.execution.gateway.schema import Kind
from builderos.execution.gateway.service import Gateway, Job, Relay
from builderos.interfaces.http.serve import Incoming

from .admissions import Admissions, admitted
from .shape import as_error, models_of

log = logging.getLogger("builderos.openai")
PATH: Final = "/openai/v1"
SEND_S: Final = 60.0
KINDS: Final[dict[str, Kind]] = {
    "chat/completions": "chat",
    "embeddings": "embeddings",
    "responses": "responses",
}
EVENTS: Final = b"text/event-stream; charset=utf-8"
JSON: Final = b"application/json"
T = TypeVar("T")


def add_openai(api: FastAPI, app: Application) -> AbstractAsyncContextManager[None]:
    """Serve OpenAI's interface, and `/api/ai/stream` as another name of `/v1/ai/stream`.

    The result is to be held open while the server runs: its event loop keeps connections to providers.
    """
    door = Door(app)
    routes = [
        Route(f"{PATH}/{path}", endpoint=_Endpoint(functools.partial(door.ask, kind)), name=f"openai-{kind}")
        for path, kind in KINDS.items()
    ]
    routes += [
        Route(f"{PATH}/models", endpoint=_Endpoint(door.models), name="openai-models"),
        Route(f"{PATH}/models/{{model:path}}", endpoint=_Endpoint(door.models), name="openai-models"),
        Route(f"{PATH}/{{rest:path}}", endpoint=_Endpoint(door.nothing), name="openai-unknown"),
        Route(
            "/api/ai/stream", endpoint=_Endpoint(functools.partial(_elsewhere, api)), name="streamCompletion"
        ),
    ]
    for route in routes:
        route.include_in_schema = False
    api.state.dialects = {**getattr(api.state, "dialects", {}), f"{PATH}/": as_error}
    api.router.routes[:0] = routes  # before hundreds of others, which would each be held against the path
    api.state.shortcuts = {
        f"{PATH}/{path}": functools.partial(door.ask, kind) for path, kind in KINDS.items()
    }
    return door.open()


class _Endpoint:
    """An ASGI application, so that no framework stands between the socket and the provider."""

    def __init__(self, serve: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._serve = serve

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._serve(scope, receive, send)


async def _elsewhere(api: FastAPI, scope: Scope, receive: Receive, send: Send) -> None:
    path = "/v1/ai/stream"
    clean = {
        key: value
        for key, value in scope.items()
        if key not in ("endpoint", "route", "path_params", "router")
    }
    await api.router({**clean, "path": path, "raw_path": path.encode()}, receive, send)


class Door:
    """The requests of OpenAI's interface."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._admissions = Admissions(app)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """The time in which requests are taken."""
        models = self._app.context.get(Gateway)
        models.keep()
        try:
            yield
        finally:
            await models.let_go()

    async def ask(self, kind: Kind, scope: Scope, receive: Receive, send: Send) -> None:
        """Chat completions, embeddings, responses."""
        incoming: Incoming = scope["state"]["incoming"]
        incoming.seen.operation = f"openai-{kind}"
        try:
            _must_be(scope, "POST")
            raw = await _body(receive)
            job = await self._admissions.admit(kind, raw, incoming)
        except Problem as problem:
            await _reply(send, *as_error(problem, incoming.request_id))
            return
        except Exception:
            log.exception("unexpected error in %s", incoming.request_id)
            await _reply(send, *as_error(_fault(), incoming.request_id))
            return
        await self._relay(job, incoming, receive, send)

    async def models(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The list of models, or one of them."""
        del receive
        incoming: Incoming = scope["state"]["incoming"]
        incoming.seen.operation = "openai-models"
        wanted: str | None = scope.get("path_params", {}).get("model")
        try:
            _must_be(scope, "GET")
            found = await self._in_thread(lambda: self._models(incoming, wanted))
        except Problem as problem:
            await _reply(send, *as_error(problem, incoming.request_id))
            return
        await _reply(send, 200, orjson.dumps(found))

    async def nothing(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What of OpenAI's interface is not here."""
        del receive
        incoming: Incoming = scope["state"]["incoming"]
        incoming.seen.operation = "openai-unknown"
        known = ", ".join([*KINDS, "models"])
        problem = Problem(
            "not_found", "this part of OpenAI's interface is not here", hint=f"There is {known}."
        )
        await _reply(send, *as_error(problem, incoming.request_id))

    async def _relay(self, job: Job, incoming: Incoming, receive: Receive, send: Send) -> None:
        """Pass the answer on; a client that leaves meanwhile stops the provider."""
        task = asyncio.current_task()
        assert task is not None
        leaving = asyncio.ensure_future(_left(receive))
        gone: list[bool] = []

        def stop(_: object) -> None:
            if not leaving.cancelled():
                gone.append(True)
                task.cancel()

        leaving.add_done_callback(stop)
        try:
            await self._pass_on(job, incoming, send)
        except asyncio.CancelledError:
            if not gone or task.uncancel():
                raise
        finally:
            leaving.remove_done_callback(stop)
            leaving.cancel()

    async def _pass_on(self, job: Job, incoming: Incoming, send: Send) -> None:
        relay: Relay | None = None
        try:
            relay = await self._app.context.get(Gateway).begin(job)
            headers = _headers(relay)
            if not job.stream:
                await _reply(send, 200, await relay.whole(), headers)
                return
            await _stream(send, relay, headers)
        except TimeoutError:  # who takes nothing for so long is let go, and the provider with it
            return
        except Problem as problem:
            await _reply(send, *as_error(problem, incoming.request_id))
        except Exception:
            log.exception("unexpected error in %s", incoming.request_id)
            if relay is None:
                await _reply(send, *as_error(_fault(), incoming.request_id))
        finally:
            if relay is not None:
                relay.close()

    def _models(self, incoming: Incoming, wanted: str | None) -> dict[str, Any]:
        call = admitted(self._app, incoming, "openai_models@1")
        return perform(
            self._app.context, call, lambda unit: models_of(gateway.usable(unit), wanted), read_only=True
        )

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(work, limiter=self._app.context.get(anyio.CapacityLimiter))


async def _stream(send: Send, relay: Relay, headers: list[tuple[bytes, bytes]]) -> None:
    """Raises `TimeoutError` where the client takes nothing."""
    named = [(b"content-type", EVENTS), *headers]
    async with contextlib.aclosing(relay.chunks()) as chunks:
        await send({"type": "http.response.start", "status": 200, "headers": named})
        async for chunk in chunks:
            async with asyncio.timeout(SEND_S):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Problem("validation_failed", "the request broke off", hint="Send it again.")
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _fault() -> Problem:
    return Problem("internal", "something went wrong on our side", hint="Report the request_id.")


def _must_be(scope: Scope, method: str) -> None:
    if scope["method"] != method:
        raise Problem("method_not_allowed", f"{scope['method']} does nothing here", hint=f"Use {method}.")


def _headers(relay: Relay) -> list[tuple[bytes, bytes]]:
    """Who answered, and where it stands in the ledger of usage."""
    named = {
        "x-builderos-model": relay.candidate.name, "x-builderos-usage": relay.id, "x-builderos-label": relay.label,
        "x-accel-buffering": "no",
    }  # fmt: skip
    return [(name.encode(), value.encode()) for name, value in named.items()]


async def _reply(
    send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    named = [(b"content-type", JSON), (b"content-length", str(len(body)).encode()), *(headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": named})
    await send({"type": "http.response.body", "body": body, "more_body": False})
