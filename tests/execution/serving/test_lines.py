"""Lines that are kept to a server in a jail: what is sent is asked once, and only plain answers are believed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from builderos.execution.serving.service import Lines, Silent

Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Counts lines and requests; `speak` answers each request of a line."""

    def __init__(self, speak: Speak) -> None:
        self.lines = 0
        self.asked: list[bytes] = []
        self._speak = speak

    async def one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One line, until either side has enough."""
        self.lines += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                size = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
                self.asked.append(await reader.readexactly(size))
                await self._speak(reader, writer)
        writer.close()


@contextlib.asynccontextmanager
async def _served(folder: Path, speak: Speak, most: int = 1000) -> AsyncIterator[tuple[Server, Lines]]:
    server = Server(speak)
    door = await asyncio.start_unix_server(server.one, folder / "door")
    lines = Lines(folder / "door", most)
    try:
        yield server, lines
    finally:
        lines.close()
        door.close()


def test_requests_one_after_the_other_share_a_line(tmp_path: Path) -> None:
    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)

    async def go() -> None:
        async with _served(tmp_path, speak) as (server, lines):
            for number in range(3):
                reply = await lines.post("/x", b"%d" % number, 10)
                assert (reply.status, reply.body) == (200, b"ok")
            assert (server.lines, server.asked) == (1, [b"0", b"1", b"2"])
            both = await asyncio.gather(lines.post("/x", b"3", 10), lines.post("/x", b"4", 10))
            assert [one.body for one in both] == [b"ok", b"ok"]

    asyncio.run(go())


def test_what_a_server_has_left_is_not_used_again_and_nothing_is_asked_twice(tmp_path: Path) -> None:
    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await writer.drain()
        writer.close()

    async def go() -> None:
        async with _served(tmp_path, speak) as (server, lines):
            for number in range(20):
                assert (await lines.post("/x", b"%d" % number, 10)).body == b"ok"
            assert server.asked == [b"%d" % number for number in range(20)]

    asyncio.run(go())


@pytest.mark.parametrize(
    "said",
    [
        b"220 ready\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\nok",
        b"HTTP/1.1 20\xb2 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
        b"",
    ],
    ids=[
        "no HTTP",
        "too long",
        "less than nothing",
        "no number",
        "no code",
        "in pieces",
        "too short",
        "a head without end",
        "nothing",
    ],
)
def test_what_is_no_plain_answer_is_none(tmp_path: Path, said: bytes) -> None:
    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        writer.write_eof()

    async def go() -> None:
        async with _served(tmp_path, speak) as (_, lines):
            with pytest.raises(Silent):
                await lines.post("/x", b"1", 10)

    asyncio.run(go())


def test_a_line_on_which_more_is_said_than_was_asked_for_is_ended(tmp_path: Path) -> None:
    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad")

    async def go() -> None:
        async with _served(tmp_path, speak) as (server, lines):
            for _ in range(2):
                assert (await lines.post("/x", b"1", 10)).body == b"ok"
            assert server.lines == 2

    asyncio.run(go())


def test_an_answer_without_a_length_comes_as_it_is_said(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nfirst")
        await go_on.wait()
        writer.write(b"second" * 100_000)
        await writer.drain()
        writer.close()

    async def go() -> None:
        async with _served(tmp_path, speak) as (_, lines):
            reply = await lines.post("/x", b"1", 10)
            assert reply.stream is not None
            assert await anext(reply.stream) == b"first"
            go_on.set()
            assert b"".join([piece async for piece in reply.stream]) == b"second" * 100_000

    asyncio.run(go())


def test_nobody_at_the_door_is_no_answer(tmp_path: Path) -> None:
    async def go() -> None:
        lines = Lines(tmp_path / "door", 1000)
        with pytest.raises(Silent):
            await lines.post("/x", b"1", 10)
        lines.close()
        with pytest.raises(Silent):
            await lines.post("/x", b"1", 10)

    asyncio.run(go())


def test_who_answers_too_late_does_not_answer(tmp_path: Path) -> None:
    async def speak(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(1)

    async def go() -> None:
        async with _served(tmp_path, speak) as (_, lines):
            with pytest.raises(Silent):
                await lines.post("/x", b"1", 0.01)

    asyncio.run(go())
