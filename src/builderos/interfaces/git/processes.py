"""Git processes at the edge: bytes in, bytes out, and an end with their client."""

import asyncio
import contextlib
import logging
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from builderos.assets.repositories.service import GitCommand
from builderos.core import tracing
from builderos.core.problems import Problem

log = logging.getLogger("builderos.git")
WAIT_S: Final = 30.0
STALL_S: Final = 120.0
TOTAL_S: Final = 3600.0
_PIECE: Final = 1 << 16
_KEPT_WORDS: Final = 4096
Place = contextlib.AbstractAsyncContextManager[None]
Excuse = Callable[[Problem], Response]


@contextlib.asynccontextmanager
async def running(command: GitCommand) -> AsyncGenerator[Process]:
    """A process group with three pipes; killed with everything it started when the block is left before its end."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command.argv, env=command.env, stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True
        )
    except FileNotFoundError:
        raise Problem(
            "unavailable", "git is not installed on the server", hint="Install git 2.39 or newer."
        ) from None
    try:
        with tracing.span("git process"):
            yield process
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()  # not wait(): it returns only after the pipes have been read to their end


class Slots:
    """How many git clients are served at once, in all and for one credential: a slow one must not keep others out."""

    def __init__(self, total: int, each: int) -> None:
        self._free = asyncio.Semaphore(total)
        self._each = each
        self._held = Counter[str]()

    @contextlib.asynccontextmanager
    async def take(self, who: str) -> AsyncGenerator[None]:
        """A place. Raises `busy` when `who` has enough of them, or none becomes free."""
        if self._held[who] >= self._each:
            raise _busy("you have too many git commands running")
        self._held[who] += 1
        try:
            await self._acquire()
            try:
                yield
            finally:
                self._free.release()
        finally:
            self._held -= Counter((who,))  # drops the key with its last place

    async def _acquire(self) -> None:
        try:
            async with asyncio.timeout(WAIT_S):
                await self._free.acquire()
        except TimeoutError:
            raise _busy("too many git clients are being served") from None


def _busy(why: str) -> Problem:
    return Problem("busy", why, hint="Try again shortly.", retry_after_s=5)


async def feed(process: Process, data: bytes) -> None:
    """Write all of it and close; a process that has stopped listening says why elsewhere."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(data)
        await process.stdin.drain()
    process.stdin.close()


async def pour(process: Process, chunks: AsyncIterator[bytes]) -> None:
    """Write what arrives as it arrives, and close; stops taking more once the process does."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        async for chunk in chunks:
            process.stdin.write(chunk)
            await process.stdin.drain()
    process.stdin.close()


async def last_words(process: Process) -> bytes:
    """The end of what the process says on stderr, which is read to its end so that it cannot block."""
    assert process.stderr is not None
    kept = b""
    while chunk := await process.stderr.read(_PIECE):
        kept = (kept + chunk)[-_KEPT_WORDS:]
    return kept


class GitReply(Response):
    """The output of a git process as it comes. The client's going away ends the process, and so does its idleness."""

    def __init__(
        self, command: GitCommand, body: bytes, media_type: str, prefix: bytes, place: Place, excuse: Excuse
    ) -> None:
        super().__init__(status_code=200, media_type=media_type, headers={"cache-control": "no-cache"})
        del self.headers["content-length"]
        self._command = command
        self._input = body
        self._prefix = prefix
        self._place = place
        self._excuse = excuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the process; the reply begins with its first bytes, so that an early failure still gets a status."""
        try:
            async with asyncio.timeout(TOTAL_S):
                await self._serve(receive, send)
        except Problem as problem:
            await self._excuse(problem)(scope, receive, send)
        except (
            TimeoutError
        ):  # an unfinished reply makes the server hang up, which is all that can be said now
            log.warning("a git client took nothing for too long")

    async def _serve(self, receive: Receive, send: Send) -> None:
        async with self._place, running(self._command) as process:
            words = asyncio.create_task(last_words(process))
            feeding = asyncio.create_task(feed(process, self._input))
            leaving = asyncio.create_task(_until_gone(receive))
            pumping = asyncio.create_task(self._pump(process, send))
            try:
                await asyncio.wait({leaving, pumping}, return_when=asyncio.FIRST_COMPLETED)
                if pumping.done():
                    await pumping
            finally:
                for task in (words, feeding, leaving, pumping):
                    task.cancel()
                await asyncio.gather(words, feeding, leaving, pumping, return_exceptions=True)

    async def _pump(self, process: Process, send: Send) -> None:
        assert process.stdout is not None
        chunk = await process.stdout.read(_PIECE)
        if not chunk and await process.wait() != 0:
            raise Problem("unavailable", "git could not serve this request", hint="Try again shortly.")
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        chunk = self._prefix + chunk
        while chunk:
            async with asyncio.timeout(STALL_S):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            chunk = await process.stdout.read(_PIECE)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
