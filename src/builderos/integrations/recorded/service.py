"""The provider kind `recorded`: replays what was recorded, records what another provider says, or follows a script."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import orjson

from builderos.execution.gateway.ports import Answer, Ask, ModelProvider, Unfit
from builderos.execution.gateway.schema import Json, Label
from builderos.execution.gateway.service import Provider, chat_of, response_events, response_of

from .cassettes import Cassettes, asked
from .scripts import Scripts
from .wire import DONE, completion_of, events_of, line

_OK = 200


class RecordedProvider:
    """One folder of recordings or scripts, absolute or below `base`. `source`: whose answers are recorded."""

    def __init__(
        self, entry: Provider, base: Path, source: Callable[[], ModelProvider] | None = None
    ) -> None:
        folder = base / (entry.folder or "")
        self._mode = entry.mode
        self._cassettes = Cassettes(folder)
        self._scripts = Scripts(folder)
        self._source = source

    async def send(self, ask: Ask) -> Answer:
        """See `ModelProvider`."""
        if self._mode == "record" and self._source is not None:
            answer = await self._source().send(ask)
            return _Recording(answer, self._cassettes, ask) if answer.status == _OK else answer
        if self._mode == "scripted":
            return await self._scripted(ask)
        found = await asyncio.to_thread(self._cassettes.find, asked(ask.kind, ask.body))
        return _Told(found, ask, "recorded")

    async def _scripted(self, ask: Ask) -> Answer:
        if ask.kind == "embeddings":
            raise Unfit("scripts are for chat completions and responses")
        body = chat_of(ask.body) if ask.kind == "responses" else ask.body
        said = await asyncio.to_thread(self._scripts.answer, body, ask.about)
        if ask.kind == "responses":
            return _Responded(said, ask)
        return _Told({"body": said}, ask, "scripted")

    def keep(self) -> None:
        """There are no connections of its own; those of its source are kept by the source."""
        return

    async def close(self) -> None:
        """There is nothing to end: files are closed when they have been read."""
        return


class _Told:
    """An answer that is known, in the form in which it is asked for."""

    status = _OK
    retry_after_s: float | None = None

    def __init__(self, found: Json, ask: Ask, label: Label) -> None:
        self.label: Label = label
        self._parts = _parts(found, ask)

    async def chunks(self) -> AsyncIterator[bytes]:
        """See `Answer`."""
        for part in self._parts:
            yield part

    def close(self) -> None:
        """Nothing is under way."""
        return


class _Responded:
    """A completion of a script, as a response."""

    status = _OK
    retry_after_s: float | None = None
    label: Label = "scripted"

    def __init__(self, said: Json, ask: Ask) -> None:
        self._said, self._ask = said, ask

    async def chunks(self) -> AsyncIterator[bytes]:
        """See `Answer`."""
        if not self._ask.stream:
            yield orjson.dumps(response_of(self._said, self._ask.body))
            return
        async with aclosing(response_events(self._streamed(), self._ask.body)) as events:
            async for event in events:
                yield event

    def close(self) -> None:
        """Nothing is under way."""
        return

    async def _streamed(self) -> AsyncGenerator[bytes]:
        for event in events_of(self._said):
            yield line(event)
        yield DONE


class _Recording:
    """An answer that is kept once it has come whole."""

    status = _OK
    retry_after_s: float | None = None
    label: Label = "live"

    def __init__(self, answer: Answer, cassettes: Cassettes, ask: Ask) -> None:
        self._answer, self._cassettes, self._ask = answer, cassettes, ask

    async def chunks(self) -> AsyncIterator[bytes]:
        """See `Answer`."""
        parts: list[bytes] = []
        coming: Any = self._answer.chunks()
        async with aclosing(coming):
            async for part in coming:
                parts.append(part)
                yield part
        await asyncio.to_thread(self._keep, b"".join(parts))

    def close(self) -> None:
        """See `Answer`."""
        self._answer.close()

    def _keep(self, data: bytes) -> None:
        what = asked(self._ask.kind, self._ask.body)
        try:
            if not self._ask.stream:
                self._cassettes.add(what, {"body": json.loads(data)})
                return
            told = [part[5:].strip() for part in data.splitlines() if part.startswith(b"data:")]
            if told and told[-1] == b"[DONE]":
                self._cassettes.add(what, {"events": [json.loads(part) for part in told[:-1]]})
            elif self._ask.kind == "responses":
                self._cassettes.add(what, {"events": [json.loads(part) for part in told]})
        except ValueError:  # an answer that cannot be read is none to replay
            return


def _parts(found: Json, ask: Ask) -> list[bytes]:
    if not ask.stream:
        body = found["body"] if "body" in found else completion_of(found["events"])
        return [orjson.dumps(body)]
    if "events" not in found and ask.kind != "chat":
        raise Unfit("the recording is of an answer that was no stream")
    events: list[Json] = found["events"] if "events" in found else events_of(found["body"])
    if ask.kind == "responses":
        return [f"event: {event.get('type', '')}\n".encode() + line(event) for event in events]
    return [*(line(event) for event in events), DONE]
