"""A line to a foreign agent: one JSON-RPC message in each line of text. What comes is a stranger's, so bounded."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final, cast

from .limits import Reached

MAX_LINE: Final = 4 * 1024 * 1024
MAX_BYTES: Final = 256 * 1024 * 1024
MAX_MESSAGES: Final = 200_000


class Line:
    """One message at a time: while one is answered the next one waits in the socket, and so does who writes it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mistakes: int) -> None:
        self._reader = reader
        self._writer = writer
        self._mistakes = mistakes
        self._bytes = 0
        self._messages = 0

    async def say(self, message: Mapping[str, Any]) -> None:
        """Send a message. Raises `Reached` where nobody is there to take it."""
        try:
            self._writer.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
            await self._writer.drain()
        except ConnectionError as error:
            raise Reached("answer", "the agent ended before its answer") from error

    async def hear(self) -> Mapping[str, Any]:
        """The next message. Raises `Reached` at the end, and for what is too long, too much, or no message at all."""
        while True:
            line = await self._next()
            self._bytes += len(line)
            self._messages += 1
            if self._bytes > MAX_BYTES or self._messages > MAX_MESSAGES:
                raise Reached("output", "the agent says more than anybody can read")
            message = _message(line)
            if message is not None:
                return message
            self._mistakes -= 1
            if self._mistakes < 0:
                raise Reached("mistakes", f"the agent does not speak ACP: {line[:200]!r}")

    async def _next(self) -> bytes:
        try:
            line = await self._reader.readline()
        except ValueError as error:
            raise Reached("output", f"the agent's message is longer than {MAX_LINE} bytes") from error
        except ConnectionError as error:
            raise Reached("answer", "the agent ended before its answer") from error
        if not line:
            raise Reached("answer", "the agent ended before its answer")
        return line

    def close(self) -> None:
        """Hang up: the agent reads the end of its input."""
        self._writer.close()


def _message(line: bytes) -> Mapping[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    message = cast("dict[str, Any]", found)
    return message if isinstance(message.get("method"), str) or "id" in message else None
