"""`POST /v1/hooks/{id}`: a system outside starts a run. Its signature is its credential."""

from typing import Any, Final

import anyio
from fastapi import FastAPI
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from builderos.core.application import Application
from builderos.core.context import Context
from builderos.core.metrics import Metrics
from builderos.core.problems import Problem
from builderos.core.schema import Out
from builderos.core.settings import Settings
from builderos.core.unit import as_system
from builderos.execution.runs.service import hooks
from builderos.trust.notices import service as notices
from builderos.trust.quotas import service as quotas

from .serve import Incoming
from .strict import read_json

PATH: Final = "/v1/hooks/{id}"
NAME: Final = "callHook"
_HEADERS: Final = ("webhook-id", "webhook-timestamp", "webhook-signature")
_SAYS: Final = """\
Called by systems outside, without a credential: each delivery is signed with the secret of the trigger, in the way of
the Standard Webhooks specification. What it brings is at most 64 KiB of JSON and arrives in the param `payload`."""


class HookReply(Out):
    """What became of a delivery."""

    run_id: str
    started: bool = Field(description="False: the same delivery had started it before.")
    message: str


def add_hooks(api: FastAPI, app: Application) -> None:
    """Add the door."""
    door = Door(app)
    body = {
        "required": True,
        "content": {
            "application/json": {"schema": {"type": "object"}, "example": {"ref": "refs/heads/main"}}
        },
    }
    which = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    signed = [
        {"name": name, "in": "header", "required": True, "schema": {"type": "string"}} for name in _HEADERS
    ]
    api.add_api_route(
        PATH, door.receive, methods=["POST"], operation_id=NAME, tags=["pipelines"], response_model=HookReply,
        status_code=202, summary="Start a run from a system outside.", description=_SAYS,
        responses={"4XX": {"description": ""}, "5XX": {"description": ""}},
        openapi_extra={"requestBody": body, "parameters": [which, *signed], "security": [{"signature": []}],
                       "x-profile": "platform", "x-openai-isConsequential": False},
    )  # fmt: skip


class Door:
    """Reads a delivery, counts it, hands it on. Database work is done in a worker thread."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._threads = anyio.CapacityLimiter(app.context.get(Settings).workers)

    async def receive(self, request: Request) -> Response:
        """One delivery."""
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > hooks.MAX_PAYLOAD:
                raise _too_large()
        incoming: Incoming = request.state.incoming
        id_, stamp, signature = (request.headers.get(name, "") for name in _HEADERS)
        delivery = hooks.Delivery(
            request.path_params["id"], id_, stamp, signature, bytes(body), incoming.request_id
        )
        return await anyio.to_thread.run_sync(self._answer, delivery, incoming, limiter=self._threads)

    def _answer(self, delivery: hooks.Delivery, incoming: Incoming) -> Response:
        context, outcome = self._app.context, "internal"
        try:
            hook = self._admit(context, delivery, incoming)
            taken = hooks.receive(context, hook, delivery, read_json)
            outcome = "ok"
        except Problem as problem:
            outcome = problem.code
            context.get(Metrics).refused(problem)
            raise
        finally:
            context.get(Metrics).call(NAME, incoming.door, outcome)
        text = f"Started {taken.run_id}." if taken.started else f"{taken.run_id} was started before."
        reply = HookReply(run_id=taken.run_id, started=taken.started, message=text)
        return Response(reply.model_dump_json(), 202 if taken.started else 200, media_type="application/json")

    def _admit(self, context: Context, delivery: hooks.Delivery, incoming: Incoming) -> hooks.Hook:
        """Count wrong ones by their caller and right ones by their address, so that neither shuts others out."""
        rates = context.get(quotas.Rates)
        try:
            hook = hooks.admit(context, delivery)
        except Problem as problem:
            if problem.code == "not_found":
                rates.hit("invalid_tokens", incoming.caller)
            raise
        incoming.seen.actor = "hook"
        try:
            rates.hit("per_token", delivery.hook, standings=incoming.seen.standings)
            rates.hit("per_org", hook.org_id)
        except Problem as problem:
            detail: dict[str, Any] = {"limit": problem.extra["name"]}
            as_system(
                context, hook.org_id,
                lambda unit: notices.raise_alert(unit, "rate_limited", delivery.hook, detail),
            )  # fmt: skip
            raise
        return hook


def _too_large() -> Problem:
    return Problem(
        "payload_too_large", f"a delivery has at most {hooks.MAX_PAYLOAD} bytes",
        hint="Send where the rest can be read.", limit=hooks.MAX_PAYLOAD,
    )  # fmt: skip
