"""Requests carried on over lines that the server inside closes when it likes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from builderos.execution.serving.service import Inside, Passing


class Hasty:
    """A server that closes a line without a word as soon as another request comes on it."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    async def one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One line: the first request is answered as if more could follow."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            if b"content-length: " in head:
                await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]))
            self.asked.append(head.split(b" ")[0])
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n")
            writer.write(b"" if head.startswith(b"head ") else b"ok")
            await reader.read(1)
        writer.close()


@contextlib.asynccontextmanager
async def _relayed(folder: Path, server: Hasty) -> AsyncIterator[tuple[Inside, aiohttp.ClientSession, str]]:
    """Whom a client asks at an address reaches the server by way of its door."""
    door = await asyncio.start_unix_server(server.one, folder / "door")
    inside = Inside.at(folder / "door")

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return await inside.answer(request, Passing())

    relay = web.ServerRunner(web.Server(answer, auto_decompress=False))
    await relay.setup()
    site = web.TCPSite(relay, "127.0.0.1", 0)
    await site.start()
    try:
        async with aiohttp.ClientSession() as client:
            host, port = relay.addresses[0][:2]
            yield inside, client, f"http://{host}:{port}/"
    finally:
        await relay.cleanup()
        await inside.close()
        door.close()


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("before", ["look", "post", "GET", "POST"])
def test_a_line_that_the_server_closes_after_an_answer_fails_no_request(
    tmp_path: Path, before: str, method: str
) -> None:
    async def go() -> None:
        server = Hasty()
        async with _relayed(tmp_path, server) as (inside, client, url):
            for _ in range(2):
                if before == "look":
                    assert await inside.look("/health", 10) == 200
                elif before == "post":
                    assert await inside.post("/", b"{}", 10) == (200, b"ok")
                else:
                    async with client.request(before, url, data=b"x" if before == "POST" else None) as first:
                        assert first.status == 200
                body = b"x" * 200_000 if method in ("POST", "PUT", "PATCH") else None
                async with client.request(method, url, data=body) as reply:
                    assert reply.status == 200
        assert len(server.asked) == 4, "none is asked twice that was answered"

    asyncio.run(go())


class Foreign(Hasty):
    """A server that speaks something else."""

    async def one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Greets, as those of mail do."""
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 ready\r\n")
        await writer.drain()
        writer.close()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_server_that_speaks_no_http_is_one_that_does_not_answer(tmp_path: Path, method: str) -> None:
    async def go() -> None:
        body = b"x" if method == "POST" else None
        async with (
            _relayed(tmp_path, Foreign()) as (_, client, url),
            client.request(method, url, data=body) as reply,
        ):
            assert reply.status == 502
            assert "does not answer" in await reply.text()

    asyncio.run(go())
