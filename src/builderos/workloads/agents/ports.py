"""What agents need of others: somebody who answers for a model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from builderos.core.context import Context
from builderos.core.unit import Call


@dataclass(frozen=True, slots=True)
class Turn:
    """Which turn of which agent a request is: for budgets and for the ledger of usage. `number` counts from 1;
    `prompt` is `name@version#sha256`."""

    run_id: str
    step_id: str
    agent: str
    prompt: str
    number: int


class Models(Protocol):
    """Answers requests in the form of OpenAI's chat completions."""

    async def complete(
        self, context: Context, call: Call, request: Mapping[str, Any], turn: Turn
    ) -> dict[str, Any]:
        """The reply, with `choices`, `usage`, `model`, `cost`, `label`. Raises `Problem`."""
        ...
