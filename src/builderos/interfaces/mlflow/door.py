"""`/mlflow/…` of the HTTP server: MLflow's REST interface for its unmodified clients, with our credentials, policy,
quotas and ledger behind it.

A client logs many times a second, so no framework stands between the socket and the handler: whatever touches the
database runs in a worker thread, all of it in one go.
"""

import functools
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast
from urllib.parse import parse_qsl

import anyio
import anyio.to_thread
import orjson
from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from builderos.core.application import Application
from builderos.core.metrics import Metrics
from builderos.core.problems import Problem
from builderos.core.unit import Call, Unit, perform
from builderos.interfaces.http.records import note_refusal
from builderos.interfaces.http.serve import Incoming, admit
from builderos.trust.policy import service as policy
from builderos.trust.quotas import service as quotas
from builderos.workloads.experiments.service import spans

from . import otlp
from .artifacts import PREFIX, Artifacts
from .routing import ROUTES, Act, found
from .shapes import VERSION, NoEndpoint, as_error, dumped
from .traces import SPANS
from .words import Body, of_query

log = logging.getLogger("builderos.mlflow")
PATH: Final = "/mlflow"
JSON: Final = b"application/json"
TEXT: Final = b"text/plain; charset=utf-8"
APIS: Final = ("/api/", "/ajax-api/")
_INFO: Final = {"workspaces_enabled": False, "multipart_uploads_enabled": False, "store_type": "SqlStore"}
_PLAIN: Final = {"/version": (VERSION.encode(), TEXT), "/health": (b"OK", TEXT)}
_INFOS: Final = frozenset({"/api/3.0/mlflow/server-info", "/ajax-api/3.0/mlflow/server-info"})


def add_mlflow(api: FastAPI, app: Application) -> None:
    """Serve MLflow's interface."""
    door = Door(app)
    route = Route(f"{PATH}/{{rest:path}}", endpoint=_Endpoint(door.serve), name="mlflow")
    route.include_in_schema = False
    api.router.routes[:0] = [route]
    shortcuts = {
        f"{PATH}{prefix}{path}": door.serve for prefix in APIS for path in {path for _, path in ROUTES}
    }
    api.state.shortcuts = {**getattr(api.state, "shortcuts", {}), **shortcuts}


class _Endpoint:
    """An ASGI application, so that the framework does not read the body."""

    def __init__(self, serve: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._serve = serve

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._serve(scope, receive, send)


class Door:
    """The requests of MLflow's interface."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._artifacts = Artifacts(app, self.admitted)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, whatever becomes of it."""
        incoming: Incoming = scope["state"]["incoming"]
        incoming.seen.operation = "mlflow-unknown"
        try:
            await self._serve(scope, receive, send, incoming)
        except Problem as problem:
            self._app.context.get(Metrics).refused(problem)
            await reply(send, *as_error(problem, incoming.request_id))
        except Exception:
            log.exception("unexpected error in %s", incoming.request_id)
            fault = Problem("internal", "something went wrong on our side", hint="Report the request_id.")
            await reply(send, *as_error(fault, incoming.request_id))

    async def _serve(self, scope: Scope, receive: Receive, send: Send, incoming: Incoming) -> None:
        path: str = scope["path"].removeprefix(PATH)
        if path in _PLAIN:
            await reply(send, 200, _PLAIN[path][0], kind=_PLAIN[path][1])
            return
        if path in _INFOS:
            await reply(send, 200, orjson.dumps(_INFO))
            return
        if path.removeprefix("/") == SPANS and scope["method"] == "POST":
            headers = Headers(scope=scope)
            await run_in_thread(self._app, self._take_spans, await _whole(receive), headers, incoming)
            kind = _kind(headers)
            await reply(send, 200, b"" if kind == otlp.PROTOBUF else b"{}", kind=kind.encode())
            return
        api = next((prefix for prefix in APIS if path.startswith(prefix)), None)
        rest = path.removeprefix(api) if api is not None else ""
        if rest.startswith(PREFIX):
            await self._artifacts.serve(rest.removeprefix(PREFIX), scope, receive, send, incoming)
            return
        act, implied = found(scope["method"], rest or path.lstrip("/"))
        if act is None:
            await run_in_thread(self._app, self.admitted, incoming, "mlflow-unknown")
            raise NoEndpoint(path)
        incoming.seen.operation = f"mlflow-{act.name}"
        raw = await _whole(receive)
        query = scope["query_string"].decode("latin-1")
        sent = Headers(scope=scope).get("content-type", "")
        document = await run_in_thread(self._app, self._do, act, raw, query, sent, implied, incoming)
        await reply(send, 200, document)

    def admitted(self, incoming: Incoming, operation: str) -> Call:
        """Who asks. In a worker thread. Raises `unauthenticated`, `token_invalid`, `token_expired`, `rate_limited`."""
        if incoming.bearer is None:
            raise Problem(
                "unauthenticated", "this needs a credential of BuilderOS", hint="Set MLFLOW_TRACKING_TOKEN."
            )  # fmt: skip
        call = admit(self._app, incoming, f"{operation}@1", logs=True)
        incoming.seen.who = (call.actor.org_id, call.actor.id)
        return call

    def _take_spans(self, raw: bytes, headers: Headers, incoming: Incoming) -> None:
        """In a worker thread."""

        def keep(unit: Unit, _: Body) -> dict[str, Any]:
            found = otlp.read(raw, _kind(headers), headers.get("content-encoding", "").strip().lower())
            home, run_id = headers.get("x-mlflow-experiment-id", "0"), headers.get("x-mlflow-run-id", "")
            spans.log(unit, home, found, run_id)
            return {}

        incoming.seen.operation = "mlflow-spans"
        self._do(Act("spans", "POST", keep, reads=False), b"", "", "", {}, incoming)

    def _do(
        self, act: Act, raw: bytes, query: str, kind: str, implied: dict[str, str], incoming: Incoming
    ) -> bytes:
        """In a worker thread."""
        began, outcome = time.perf_counter(), "internal"
        context = self._app.context
        try:
            call = self.admitted(incoming, f"mlflow-{act.name}")
            body = _body(act, raw, query, kind, implied)
            try:
                answer = perform(
                    context, call, lambda unit: dumped(act.handler(unit, body)), read_only=act.reads, settled=act.reads
                )  # fmt: skip
            except policy.Refused as refused:
                note_refusal(context, call, refused)
                raise
            outcome = "ok"
            return answer
        except Problem as problem:
            outcome = problem.code
            raise
        finally:
            context.get(Metrics).call(f"mlflow-{act.name}", "mlflow", outcome)
            if incoming.seen.who is not None:
                context.get(quotas.metering.Meter).count(
                    *incoming.seen.who, f"mlflow-{act.name}", write=not act.reads, outcome=outcome,
                    ms=(time.perf_counter() - began) * 1000,
                )  # fmt: skip


async def run_in_thread(app: Application, function: Callable[..., Any], *args: Any) -> Any:
    """What touches the database."""
    limiter = app.context.get(anyio.CapacityLimiter)
    return await anyio.to_thread.run_sync(functools.partial(function, *args), limiter=limiter)


def _body(act: Act, raw: bytes, query: str, kind: str, implied: dict[str, str]) -> Body:
    """The members of a request: of its document, of its query where it reads, and of its path."""
    if act.method == "GET" or not raw:
        found_ = of_query(parse_qsl(query, keep_blank_values=True))
        return Body({**found_.members, **implied}) if implied else found_
    if kind.partition(";")[0].strip().lower() != "application/json":
        raise Problem(
            "unsupported_media_type", "Bad Request. Content-Type must be one of ['application/json'].", hint=""
        )  # fmt: skip
    try:
        document: Any = orjson.loads(raw)
    except ValueError:
        raise Problem("validation_failed", "the body is not valid JSON", hint="") from None
    if not isinstance(document, dict):
        raise Problem("validation_failed", "the body is no JSON object", hint="")
    return Body({**cast("dict[str, Any]", document), **implied})


def _kind(headers: Headers) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


async def _whole(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Problem("validation_failed", "the request broke off", hint="Send it again.")
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


async def reply(
    send: Send,
    status: int,
    body: bytes,
    headers: list[tuple[bytes, bytes]] | None = None,
    *,
    kind: bytes = JSON,
) -> None:
    """Send a whole reply."""
    named = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *(headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": named})
    await send({"type": "http.response.body", "body": body, "more_body": False})
