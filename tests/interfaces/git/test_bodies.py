"""Bodies of git clients: unfolded with care, and not waited for for ever. Places and processes: given back."""

import asyncio
import gzip
import os
import zlib
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import psutil
import pytest
from starlette.requests import Request

from builderos.assets.repositories.service import GitCommand
from builderos.core.problems import Problem
from builderos.interfaces.git.bodies import Body
from builderos.interfaces.git.processes import Slots, running
from tests.support.servers import until

T = TypeVar("T")


def body_of(
    chunks: Iterable[bytes], encoding: str = "", limit: int = 10**9, idle_s: float = 5, silent: bool = False
) -> Body:
    """A body that arrives in these chunks, and then ends or falls silent."""
    waiting = list(chunks)

    async def receive() -> dict[str, Any]:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(0), "more_body": silent or bool(waiting)}
        await asyncio.sleep(0.9)
        return {"type": "http.disconnect"}

    headers = [(b"content-encoding", encoding.encode())] if encoding else []
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers, "query_string": b""}
    return Body(Request(scope, receive), limit, idle_s)


def run(body: Body, read: Callable[[Body], Awaitable[T]]) -> T:
    async def reading() -> T:
        return await read(body)

    return asyncio.run(reading())


def test_pieces_are_cut_as_asked_for_whatever_arrives() -> None:
    async def read(body: Body) -> list[bytes]:
        return [await body.exactly(3), await body.exactly(4), await body.whole(), await body.exactly(1)]

    assert run(body_of([b"ab", b"", b"cdefgh", b"i"]), read) == [b"abc", b"defg", b"hi", b""]


@pytest.mark.parametrize("size", [1, 7, 10**6])
def test_a_gzipped_body_is_the_plain_one(size: int) -> None:
    plain = b"0032want something\n" * 5000
    packed = gzip.compress(plain, mtime=0)
    chunks = [packed[at : at + size] for at in range(0, len(packed), size)]
    assert run(body_of(chunks, "gzip"), Body.whole) == plain


def test_a_small_body_that_unfolds_without_end_is_stopped_early() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    body = body_of([bomb], "gzip", limit=1_000_000)
    with pytest.raises(Problem) as caught:
        run(body, Body.whole)
    assert caught.value.code == "payload_too_large"


@pytest.mark.parametrize(
    "data", [b"", b"no gzip", gzip.compress(b"cut", mtime=0)[:-4], zlib.compress(b"another format")]
)
def test_a_broken_gzip_body_is_refused(data: bytes) -> None:
    with pytest.raises(Problem) as caught:
        run(body_of([data], "gzip"), Body.whole)
    assert caught.value.code == "validation_failed"


def test_a_client_that_falls_silent_is_not_waited_for() -> None:
    with pytest.raises(Problem, match="nothing arrived"):
        run(body_of([b"some"], silent=True, idle_s=0.05), Body.whole)


def test_an_unknown_encoding_is_refused() -> None:
    with pytest.raises(Problem) as caught:
        body_of([], "zstd")
    assert caught.value.code == "unsupported_media_type"


def test_places_are_limited_for_each_and_for_all() -> None:
    async def play() -> list[str]:
        slots, told = Slots(total=2, each=1), list[str]()
        async with slots.take("ada"):
            with pytest.raises(Problem, match="too many git commands"):
                async with slots.take("ada"):
                    told.append("never")
            async with slots.take("bob"):
                third = asyncio.create_task(enter(slots, "cyd", told))
                await asyncio.sleep(0.01)
                assert told == []
            await third
        async with slots.take("ada"):
            told.append("ada again")
        return told

    assert asyncio.run(play()) == ["cyd", "ada again"]


async def enter(slots: Slots, who: str, told: list[str]) -> None:
    async with slots.take(who):
        told.append(who)


def test_a_process_ends_with_its_block_and_takes_its_children_along() -> None:
    async def play() -> int:
        command = GitCommand(("sh", "-c", "sleep 600 & echo $!; wait"), {"PATH": os.environ["PATH"]})
        async with running(command) as process:
            assert process.stdout is not None
            return int(await process.stdout.readline())

    child = asyncio.run(asyncio.wait_for(play(), 20))
    until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)
