"""The protocol over the standard streams of a program that somebody else has started: one message in each line."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import anyio
import mcp_types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage

MAX_BYTES: Final = 64 * 1024 * 1024
MAX_MESSAGES: Final = 100_000
_MISTAKES: Final = 20

Incoming: TypeAlias = MemoryObjectReceiveStream[SessionMessage | Exception]
Outgoing: TypeAlias = MemoryObjectSendStream[SessionMessage]


@asynccontextmanager
async def transport(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> AsyncGenerator[tuple[Incoming, Outgoing]]:
    """What the client reads from and writes to. Where the program says too much, or again and again what is none of
    the protocol, the line ends."""
    heard, hears = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    says, said = anyio.create_memory_object_stream[SessionMessage](0)
    tasks = (asyncio.ensure_future(_hear(reader, heard)), asyncio.ensure_future(_say(writer, said, heard)))
    try:
        yield hears, says
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for stream in (hears, heard, says, said):
            await stream.aclose()


async def _hear(
    reader: asyncio.StreamReader, heard: MemoryObjectSendStream[SessionMessage | Exception]
) -> None:
    gone = (ConnectionError, ValueError, anyio.BrokenResourceError, anyio.ClosedResourceError)
    async with heard:
        with contextlib.suppress(*gone):
            async for message in _messages(reader):
                await heard.send(message)


async def _messages(reader: asyncio.StreamReader) -> AsyncIterator[SessionMessage]:
    """Until the line ends, or there is too much of it. Raises `ValueError` for a message longer than a line may be."""
    size = count = mistakes = 0
    while line := await reader.readline():
        size, count = size + len(line), count + 1
        message = _message(line)
        mistakes += message is None
        if size > MAX_BYTES or count > MAX_MESSAGES or mistakes > _MISTAKES:
            return
        if message is not None:
            yield message


def _message(line: bytes) -> SessionMessage | None:
    try:
        return SessionMessage(mcp_types.jsonrpc_message_adapter.validate_json(line, by_name=False))
    except (ValueError, RecursionError):
        return None


async def _say(
    writer: asyncio.StreamWriter, said: MemoryObjectReceiveStream[SessionMessage],
    heard: MemoryObjectSendStream[SessionMessage | Exception],
) -> None:  # fmt: skip
    try:
        async with said:
            async for message in said:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                writer.write(text.encode() + b"\n")
                await writer.drain()
    except (ConnectionError, anyio.ClosedResourceError):
        await heard.aclose()  # whoever waits for an answer hears that there will be none
