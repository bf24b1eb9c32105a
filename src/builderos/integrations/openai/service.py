"""The provider kind `openai`: OpenAI's JSON over HTTP, its bytes passed on as they come."""

from collections.abc import AsyncIterator, Sequence
from typing import Final

import orjson

from builderos import VERSION
from builderos.core.dialing import IpNetwork, Unreachable
from builderos.core.outgoing import Incoming, Outgoing, Place, retry_after
from builderos.execution.gateway.ports import Ask, NoAnswer
from builderos.execution.gateway.schema import Label
from builderos.execution.gateway.service import Provider

OPENAI: Final = "https://api.openai.com/v1"
_PATHS: Final = {"chat": "chat/completions", "embeddings": "embeddings", "responses": "responses"}


class OpenAIProvider:
    """One address. `networks`: those of this server's own that its name may lead to."""

    def __init__(self, entry: Provider, networks: Sequence[IpNetwork] = ()) -> None:
        self._service = Outgoing(Place.named(entry.base_url or OPENAI, networks))
        self._headers = dict(entry.headers) | {
            "content-type": "application/json", "accept-encoding": "identity", "user-agent": f"builderos/{VERSION}",
        }  # fmt: skip

    async def send(self, ask: Ask) -> "HttpAnswer":
        """See `ModelProvider`."""
        headers = self._headers
        if ask.key is not None:
            headers = {**headers, "authorization": f"Bearer {ask.key}"}
        body = orjson.dumps(ask.body)
        try:
            response = await self._service.post(
                _PATHS[ask.kind], body, headers, first_s=ask.first_s, idle_s=ask.idle_s
            )
        except Unreachable as error:
            raise NoAnswer(str(error), sent=not error.unsent) from error
        return HttpAnswer(response)

    def keep(self) -> None:
        """See `ModelProvider`."""
        self._service.keep()

    async def close(self) -> None:
        """See `ModelProvider`."""
        await self._service.close()


class HttpAnswer:
    """An answer over HTTP."""

    label: Label = "live"

    def __init__(self, response: Incoming) -> None:
        self._response = response
        self.status = response.status
        self.retry_after_s = retry_after(response.headers.get("retry-after"))

    async def chunks(self) -> AsyncIterator[bytes]:
        """See `Answer`."""
        try:
            async for chunk in self._response.chunks():
                yield chunk
        except Unreachable as error:
            raise NoAnswer(str(error)) from error

    def close(self) -> None:
        """See `Answer`."""
        self._response.close()
