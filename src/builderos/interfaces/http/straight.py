"""The way of almost all calls: a JSON document posted to an operation. The framework is not asked.

It takes longer over a request than the database does over a commit, and all of that in the one thread that serves
everybody. What is out of the ordinary, above all what is to be refused, goes to it as if it had come there first: the
words of a refusal are the same.
"""

from collections.abc import Sequence
from typing import Final

import anyio
import anyio.to_thread
from pydantic import ValidationError
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from builderos.core.application import Application
from builderos.core.operations import Operation
from builderos.core.problems import Problem

from .problem import crash_response, problem_response
from .routes import OperationRoute
from .serve import Incoming, Outgoing, serve
from .strict import read_json

_JSON: Final = (b"content-type", b"application/json")
_DEPRECATED: Final = (b"deprecation", b"true")


class Straight:
    """ASGI: calls operations, and hands everything else to `framework`."""

    def __init__(self, framework: ASGIApp, app: Application, routes: Sequence[BaseRoute]) -> None:
        self._app = framework
        self._application = app
        self._limiter = app.context.get(anyio.CapacityLimiter)
        operations = (route for route in routes if isinstance(route, OperationRoute))
        self._routes = {route.path: route for route in operations if _is_plain(route.operation)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        route = self._routes.get(scope.get("path", ""))
        if route is None or scope.get("method") != "POST":
            await self._app(scope, receive, send)
            return
        messages: list[Message] = []
        incoming: Incoming = scope["state"]["incoming"]
        scope["route"] = route
        try:
            body = await _whole(receive, messages)
            out = await anyio.to_thread.run_sync(
                _called, self._application, route.operation, body, incoming, limiter=self._limiter
            )
        except Problem as problem:
            await problem_response(problem, incoming.request_id)(scope, receive, send)
            return
        except Exception as error:
            await crash_response(error, incoming.request_id)(scope, receive, send)
            if isinstance(error, RecursionError):
                return
            raise
        if out is None:
            await self._app(scope, _again(messages, receive), send)
            return
        assert isinstance(out.body, bytes)
        headers = [(b"content-length", b"%d" % len(out.body)), _JSON]
        if route.operation.deprecated:
            headers.append(_DEPRECATED)
        await send({"type": "http.response.start", "status": out.status, "headers": headers})
        await send({"type": "http.response.body", "body": out.body})


def _is_plain(operation: Operation) -> bool:
    """Whether the body says all, and the reply is one document."""
    if operation.method != "POST" or operation.path_parameters or operation.implied:
        return False
    return not operation.media_types and "last_event_id" not in operation.body.model_fields


async def _whole(receive: Receive, messages: list[Message]) -> bytes | None:
    """The body; None where the client hung up in the middle of it."""
    more = True
    while more:
        message = await receive()
        messages.append(message)
        if message["type"] != "http.request":
            return None
        more = message.get("more_body", False)
    return b"".join(message.get("body", b"") for message in messages)


def _again(messages: list[Message], receive: Receive) -> Receive:
    """What was received, and then what comes."""
    left = iter(messages)

    async def replayed() -> Message:
        for message in left:
            return message
        return await receive()

    return replayed


def _called(
    app: Application, operation: Operation, body: bytes | None, incoming: Incoming
) -> Outgoing | None:
    """The reply; None where the body is no form of the operation. Runs in a worker thread."""
    if not body:
        return None
    try:
        sent = read_json(body)
        form = operation.body.model_validate(sent) if type(sent) is dict else None
    except (Problem, ValidationError):
        return None
    return None if form is None else serve(app, operation, form, incoming)
