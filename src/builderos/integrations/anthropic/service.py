"""The provider kind `anthropic`: OpenAI's chat completions and responses in, Anthropic's messages out, and back."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, Final

import orjson

from builderos import VERSION
from builderos.core.dialing import IpNetwork, Unreachable
from builderos.core.outgoing import Incoming, Outgoing, Place, retry_after
from builderos.execution.gateway.ports import Ask, NoAnswer, Unfit
from builderos.execution.gateway.schema import Label
from builderos.execution.gateway.service import Model, Provider, chat_of, response_events, response_of

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
        if ask.kind == "embeddings":
            raise Unfit("this provider has no embeddings")
        chat = chat_of(ask.body) if ask.kind == "responses" else ask.body
        facts = self._entry.model(str(ask.body.get("model"))) or Model()
        body = orjson.dumps(request_of(chat, facts.max_output))
        headers = self._headers if ask.key is None else {**self._headers, "x-api-key": ask.key}
        try:
            response = await self._service.post(
                "v1/messages", body, headers, first_s=ask.first_s, idle_s=ask.idle_s
            )
        except Unreachable as error:
            raise NoAnswer(str(error), sent=not error.unsent) from error
        return MessageAnswer(response, self._entry.max_bytes, ask)

    def keep(self) -> None:
        """See `ModelProvider`."""
        self._service.keep()

    async def close(self) -> None:
        """See `ModelProvider`."""
        await self._service.close()


class MessageAnswer:
    """An answer to `ask`, as OpenAI has it."""

    label: Label = "live"

    def __init__(self, response: Incoming, limit: int, ask: Ask) -> None:
        self._response, self._limit, self._ask = response, limit, ask
        self.status = response.status
        self.retry_after_s = retry_after(response.headers.get("retry-after"))

    async def chunks(self) -> AsyncIterator[bytes]:
        """See `Answer`."""
        try:
            async with aclosing(self._parts()) as parts:
                async for part in parts:
                    yield part
        except Unreachable as error:
            raise NoAnswer(str(error)) from error

    def close(self) -> None:
        """See `Answer`."""
        self._response.close()

    def _parts(self) -> AsyncGenerator[bytes]:
        if not self._ask.stream or self.status >= _REFUSED:
            return self._whole()
        chunks = chunks_of(self._response.chunks())
        return response_events(chunks, self._ask.body) if self._ask.kind == "responses" else chunks

    async def _whole(self) -> AsyncGenerator[bytes]:
        body = await self._response.read(self._limit)
        yield body if self.status >= _REFUSED else self._translated(body)

    def _translated(self, body: bytes) -> bytes:
        try:
            found: Any = json.loads(body)
        except (ValueError, RecursionError):
            raise NoAnswer("answered with what is no JSON") from None
        completion = completion_of(found)
        if self._ask.kind == "responses":
            completion = response_of(completion, self._ask.body)
        try:
            return orjson.dumps(completion)
        except TypeError:  # half signs, numbers beyond 64 bits
            raise NoAnswer("answered with what is no message") from None
