"""Asking a model through the gateway: policy, budgets, redaction and the ledger of usage are there."""

from collections.abc import Mapping
from typing import Any

from builderos.core.context import Context
from builderos.core.unit import Call
from builderos.execution.gateway import service as gateway
from builderos.execution.gateway.schema import About, ChatIn

from .ports import Turn


class GatewayModels:
    """`Models` on the server's own gateway."""

    async def complete(
        self, context: Context, call: Call, request: Mapping[str, Any], turn: Turn
    ) -> dict[str, Any]:
        """The reply of whatever model the request names. Raises what `gateway.complete` raises."""
        about = About(turn.run_id, turn.step_id, turn.agent, turn.prompt, turn.number)
        reply = await gateway.complete(context, call, ChatIn.model_validate(dict(request)), about)
        return reply.model_dump(mode="json", exclude_none=True)
