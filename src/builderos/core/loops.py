"""An event loop on a thread of its own, for whatever a room looks after behind requests."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from builderos.core.problems import Problem

T = TypeVar("T")
log = logging.getLogger("builderos.loops")
_LEAVE_S: Final = 20.0
_LAST_S: Final = 2.0


class Loop:
    """Begins with the first work that it is given. What a work raises is logged; nobody waits for it but `run`.

    `name` is the thread's; `threads` that work may block at once (`asyncio.to_thread`).
    """

    def __init__(self, name: str, *, threads: int = 8) -> None:
        self.closed = False
        self._name = name
        self._threads = threads
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._guard = threading.Lock()

    # ---------------------------------------------------------------- from any thread

    def soon(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begin a work there, without waiting for it; nothing once it is closed."""
        loop = self._running()
        if loop is not None:
            loop.call_soon_threadsafe(lambda: self.spawn(work()))

    def run(self, work: Coroutine[Any, Any, T], timeout_s: float) -> T:
        """Do a work there and wait for its result. Blocks. Raises `unavailable` once it is closed, `TimeoutError`."""
        loop = self._running()
        if loop is None:
            work.close()
            raise Problem("unavailable", "the server is stopping", hint="Try again.", retry_after_s=1)
        return asyncio.run_coroutine_threadsafe(work, loop).result(timeout_s)

    def close(self, leave: Callable[[], Coroutine[Any, Any, None]], *, within_s: float = _LEAVE_S) -> None:
        """Take nothing on any more, do `leave`, wait for what still runs, end the thread. Blocks; safe to repeat."""
        with self._guard:
            self.closed = True
            loop, thread = self._loop, self._thread
        if loop is None or thread is None or not thread.is_alive():
            return
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._left(leave, within_s - _LAST_S), loop).result(within_s)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(within_s)

    # ---------------------------------------------------------------- on the loop

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin a work, from one that is there already."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def _left(self, leave: Callable[[], Coroutine[Any, Any, None]], within_s: float) -> None:
        await leave()
        if waiting := list(self._tasks):
            await asyncio.wait(waiting, timeout=within_s)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Problem):
            log.warning("%s: a work was given up: %s", self._name, error.told)
        elif error is not None:
            log.error("%s: a work failed", self._name, exc_info=error)

    def _running(self) -> asyncio.AbstractEventLoop | None:
        with self._guard:
            if self.closed:
                return None
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._loop.set_default_executor(
                    ThreadPoolExecutor(self._threads, thread_name_prefix=self._name)
                )
                self._thread = threading.Thread(target=self._loop.run_forever, name=self._name, daemon=True)
                self._thread.start()
            return self._loop
