"""The provider kind `anthropic`: OpenAI's chat completions in, Anthropic's messages out, and back."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import orjson

from builderos import VERSION
from builderos.core.dialing import IpNetwork, Unreachable
from builderos.core.outgoing import Incoming, Outgoing, Place, retry_after
from builderos.execution.gateway.ports import Ask, NoAnswer, Unfit
from builderos.execution.gateway.schema import Label
from builderos.execution.gateway.service import Model, Provider

from .answering import chunks_of, completion_of
from .asking import request_of

ANTHROPIC: Final = "https://api.anthropic.com"
INTERFACE: Final = "2023-06-01"
_REFUSED: Final = 400


class AnthropicProvider:
    """One address. `networks`: those of this server's own that its name may lead to."""

    def __init__(self, entry: Provider, networks: Sequence[IpNetwork] = ()) -> None:
        self._entry = entry
        self._service = Outgoing(Place.named(entry.base_url or ANTHROPIC, networks))
        self._headers = dict(entry.headers) | {
            "content-type": "application/json", "accept-encoding": "identity", "anthropic-version": INTERFACE,
            "user-agent": f"builderos/{VERSION}",
        }  # fmt: skip

    async def send(self, ask: Ask) -> "MessageAnswer":
        """See `ModelProvider`."""
        if ask.kind != "chat":
            raise Unfit(f"this provider has no {ask.kind}; use chat completions")
        facts = self._entry.model(str(ask.body.get("model"))) or Model()
        body = orjson.dumps(request_of(ask.body, facts.max_output))
        headers = self._headers if ask.key is None else {**self._headers, "x-api-key": ask.key}
        try:
            response = await self._service.post(
                "v1/messages", body, headers, first_s=ask.first_s, idle_s=ask.idle_s
            )
        except Unreachable as error:
            raise NoAnswer(str(error), sent=not error.unsent) from error
        return MessageAnswer(response, self._entry.max_bytes, stream=ask.stream)

    def keep(self) -> None:
        """See `ModelProvider`."""
        self._service.keep()

    async def close(self) -> None:
        """See `ModelProvider`."""
        await self._service.close()


class MessageAnswer:
    """An answer, as OpenAI has it."""

    label: Label = "live"

    def __init__(self, response: Incoming, limit: int, *, stream: bool) -> None:
        self._response, self._limit, self._stream = response, limit, stream
        self.status = response.status
        self.retry_after_s = retry_after(response.headers.get("retry-after"))

    async def chunks(self) -> AsyncIterator[bytes]:
        """See `Answer`."""
        try:
            if self._stream and self.status < _REFUSED:
                async for chunk in chunks_of(self._response.chunks()):
                    yield chunk
                return
            body = await self._response.read(self._limit)
        except Unreachable as error:
            raise NoAnswer(str(error)) from error
        yield body if self.status >= _REFUSED else _translated(body)

    def close(self) -> None:
        """See `Answer`."""
        self._response.close()


def _translated(body: bytes) -> bytes:
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError):
        raise NoAnswer("answered with what is no JSON") from None
    return orjson.dumps(completion_of(found))
