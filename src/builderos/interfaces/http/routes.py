"""Makes a route of every operation, with FastAPI behind it; FastAPI validates, `serve` does the call."""

import functools
import inspect
import re
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, cast, get_args

import anyio
from fastapi import Body, FastAPI, Path, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ValidationError, create_model
from pydantic.warnings import UnsupportedFieldAttributeWarning
from starlette.routing import BaseRoute, Match, compile_path
from starlette.types import Receive, Scope, Send

from builderos.core.application import Application
from builderos.core.operations import Download, Live, Operation
from builderos.core.problems import Problem
from builderos.core.schema import In

from . import ranges
from .live import EVENTS, LAST_EVENT_ID, Streams, streamed
from .serve import Incoming, Outgoing, as_fields, serve
from .strict import StrictRoute

Identifier = Annotated[str, Path(min_length=1, max_length=200)]


@functools.cache
def wire_model(operation: Operation) -> type[In]:
    """The part of an operation's input that is sent as body or query: what the path says is left out."""
    hidden = {*operation.path_parameters, *operation.implied, *_never_in_query(operation), "last_event_id"}
    hidden &= operation.body.model_fields.keys()
    if not hidden:
        return operation.body
    fields: dict[str, Any] = {
        name: (info.annotation, info)
        for name, info in operation.body.model_fields.items()
        if name not in hidden
    }
    name = operation.name[0].upper() + operation.name[1:]
    return create_model(f"{operation.body.__name__}At{name}", __base__=In, **fields)


def _never_in_query(operation: Operation) -> tuple[str, ...]:
    """Addresses are logged by proxies and kept in histories: a token goes into a header there."""
    return ("reuse_token",) if operation.method in ("GET", "DELETE") else ()


def add_routes(api: FastAPI, app: Application, limiter: anyio.CapacityLimiter) -> None:
    """Enrol every operation of `app`."""
    api.state.operations = (app, limiter)
    api.router.routes.extend(map(OperationRoute, app.operations()))


class OperationRoute(BaseRoute):
    """Where an operation is found. The framework's route of it is made for the first request, or for the contract:
    working one out takes milliseconds, there are hundreds, and a server is wanted at once.
    """

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self.operation_id = operation.name
        self.path = operation.path
        self.methods = {operation.method}
        self._fixed, self._open = operation.path.partition("{")[:2]

    @functools.cached_property
    def framework(self) -> StrictRoute:
        """The framework's own route."""
        return _route(self.operation)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As the framework's route; most requests are held against the beginning of the path alone."""
        path = scope["path"]
        if not (path.startswith(self._fixed) if self._open else path == self.path):
            return Match.NONE, {}
        if self._open and not _pattern(self.path).match(path):
            return Match.NONE, {}
        return self.framework.matches(scope)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As the framework's route."""
        await self.framework.handle(scope, receive, send)


@functools.cache
def _pattern(path: str) -> re.Pattern[str]:
    return compile_path(path)[0]


@functools.cache
def _route(operation: Operation) -> StrictRoute:
    """The framework's route of an operation, for every server of this process."""
    route = StrictRoute(
        operation.path,
        _endpoint(operation),
        methods=[operation.method],
        operation_id=operation.name,
        summary=operation.summary,
        description=operation.description or operation.summary,
        tags=[operation.group],
        status_code=operation.status,
        deprecated=operation.deprecated or None,
        response_model=_model(operation),
        responses=_responses(operation),
        openapi_extra=_extra(operation),
    )
    with quietly():
        for field in (route.body_field, *route.dependant.query_params):
            if field is not None:
                field.validate({})  # forms are worked out when they are first used: see `core/schema.py`
    return route


@contextmanager
def quietly() -> Generator[None]:
    """While the framework works out forms: it hands over names of fields where the library wants none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnsupportedFieldAttributeWarning)
        yield


def _model(operation: Operation) -> Any:
    """The JSON form of a reply; None where there are only bytes."""
    if not operation.media_types:
        return operation.reply
    forms = (
        form for form in get_args(operation.reply) if isinstance(form, type) and issubclass(form, BaseModel)
    )
    return next(forms, None)


def _responses(operation: Operation) -> dict[int | str, dict[str, Any]]:
    # Declared, so that the framework adds no form of its own; contract.py says what a problem looks like.
    responses: dict[int | str, dict[str, Any]] = {"4XX": {"description": ""}, "5XX": {"description": ""}}
    if operation.may_wait:
        waits = "Waits for an approval; `approval_id` says for which."
        responses[202] = {"model": operation.reply, "description": waits}
    if operation.media_types:
        words, schema = "The bytes.", dict[str, Any]({"schema": {"type": "string", "format": "binary"}})
        if EVENTS in operation.media_types:
            words, schema = (
                "Server-Sent Events, as long as something happens.",
                {"schema": {"type": "string"}},
            )
        responses[operation.status] = {
            "description": words, "content": dict.fromkeys(operation.media_types, schema),
        }  # fmt: skip
    return responses


def _extra(operation: Operation) -> dict[str, Any]:
    extra: dict[str, Any] = {
        "x-profile": operation.profile,
        "x-openai-isConsequential": operation.consequential,
    }
    if "last_event_id" in operation.body.model_fields:
        words = "The id of the last event that was received: the reply goes on behind it."
        schema = {"type": "string", "maxLength": 8000}
        extra["parameters"] = [
            {"name": "Last-Event-ID", "in": "header", "description": words, "schema": schema}
        ]
    extra["security"] = [{"token": []}] if operation.credential == "required" else [{"token": []}, {}]
    return extra


def _endpoint(operation: Operation) -> Callable[..., Any]:
    wire = wire_model(operation)

    async def endpoint(request: Request, body: In, **path: str) -> Response:
        app, limiter = cast(tuple[Application, anyio.CapacityLimiter], request.app.state.operations)
        said: dict[str, str | None] = {**path}
        if "last_event_id" in operation.body.model_fields:
            said["last_event_id"] = request.headers.get(LAST_EVENT_ID)
        whole = _whole(operation, body, said)
        incoming: Incoming = request.state.incoming
        out = await anyio.to_thread.run_sync(serve, app, operation, whole, incoming, limiter=limiter)
        if isinstance(out.body, Live):
            return streamed(app.context.get(Streams), out.body, incoming)
        if isinstance(out.body, Download) and out.body.size is not None:
            return await ranges.reply(request, out.status, out.body, limiter)
        return _response(operation, out)

    endpoint.__signature__ = inspect.Signature(_parameters(operation, wire))  # pyright: ignore[reportFunctionMemberAccess]
    endpoint.__annotations__ = {}
    return endpoint


def _parameters(operation: Operation, wire: type[In]) -> list[inspect.Parameter]:
    keyword = inspect.Parameter.KEYWORD_ONLY
    if operation.method in ("GET", "DELETE"):
        body = inspect.Parameter("body", keyword, annotation=Annotated[wire, Query()])
    else:
        body = inspect.Parameter("body", keyword, annotation=Annotated[wire, Body()], default=_empty(wire))
    names = operation.path_parameters
    return [
        inspect.Parameter("request", keyword, annotation=Request),
        body,
        *(inspect.Parameter(name, keyword, annotation=Identifier) for name in names),
    ]


def _empty(wire: type[In]) -> Any:
    """What a call without a body means; where that is not allowed, a body is required."""
    try:
        return wire()
    except ValidationError:
        return inspect.Parameter.empty


def _whole(operation: Operation, body: In, path: Mapping[str, str | None]) -> In:
    if not path and not operation.implied:
        return body
    try:
        sent = body.model_dump(exclude_unset=True, by_alias=True)
        return operation.body.model_validate({**sent, **operation.implied, **path})
    except ValidationError as error:
        raise Problem(
            "validation_failed",
            "the request does not fit the schema",
            hint="See `fields`.",
            fields=as_fields(error),
        ) from None


def _response(operation: Operation, out: Outgoing) -> Response:
    headers = {"deprecation": "true"} if operation.deprecated else {}
    if isinstance(out.body, Download):
        headers["content-disposition"] = f'attachment; filename="{out.body.filename}"'
        return StreamingResponse(out.body.chunks, out.status, headers, out.body.media_type)
    assert isinstance(out.body, bytes)
    return Response(out.body, out.status, headers, "application/json")
