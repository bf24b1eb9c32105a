"""The listener of the door: a port of its own, on an event loop that begins with the first who knocks.

Pages of notebooks are written by strangers. So they are served at an address that no cookie of the console is sent to,
and where nothing of the console's answers; with a name per session (`nbs-….localhost`) one session's pages cannot act
in another's either.
"""

import asyncio
import contextlib
import errno
import logging
import re
import selectors
import socket
import threading
from typing import TYPE_CHECKING, Final

from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.interfaces.http.place import LOOPBACK
from builderos.workloads.sessions.ports import Address

if TYPE_CHECKING:
    from aiohttp import web

    from .doors import Doors

log = logging.getLogger("builderos.proxy")
_BACKLOG: Final = 256
_STOP_S: Final = 10.0
_HOST: Final = re.compile(r"[a-z0-9.-]{1,253}(?::[0-9]{1,5})?|\[[0-9a-f:]{2,39}\](?::[0-9]{1,5})?")


def listen(settings: Settings, beside: int) -> socket.socket:
    """Bind the door's port: the configured one, or the one behind `beside`, or any that is free.

    Raises `unavailable` where the configured one is taken.
    """
    wanted = settings.proxy_port
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    tries = (wanted,) if wanted is not None else (beside + 1, 0) if settings.port and beside < 65535 else (0,)
    for port in tries:
        sock = socket.socket(family)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((settings.host, port))
            sock.listen(_BACKLOG)
        except OSError as error:
            sock.close()
            if error.errno == errno.EADDRINUSE and wanted is None:
                continue
            raise Problem(
                "unavailable", f"cannot listen on {settings.host}:{port}: {error.strerror}",
                hint="Choose another port with BUILDEROS_PROXY_PORT=…, or 0 for any free one.",
            ) from error  # fmt: skip
        sock.setblocking(False)
        return sock
    raise Problem("unavailable", f"no port is free at {settings.host}", hint="Free one.")


def pattern_of(settings: Settings, sock: socket.socket) -> str:
    """The addresses of pages, a `*` where each has a name of its own: on this machine below `localhost`, which browsers
    take for the machine itself; beyond it, where somebody has set up such names (`BUILDEROS_PROXY_URL`).
    """
    port = sock.getsockname()[1]
    if settings.proxy_url is not None:
        return settings.proxy_url
    if settings.host in LOOPBACK:
        return f"http://*.localhost:{port}"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{port}"


class Front:
    """The door of one process. Nothing is loaded before somebody knocks."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._sock: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._runner: web.ServerRunner | None = None
        self._doors: Doors | None = None
        self._wake, self._woken = socket.socketpair()
        self._thread: threading.Thread | None = None
        self._turn = threading.Lock()
        self._closing = False

    @property
    def port(self) -> int:
        """Where it listens; 0 where it does not."""
        return self._sock.getsockname()[1] if self._sock is not None else 0

    def open(self, sock: socket.socket) -> None:
        """Answer at this socket from now on."""
        settings = self._context.get(Settings)
        self._sock = sock
        self._context.get(Address).open(pattern_of(settings, sock))
        self._thread = threading.Thread(target=self._main, name="proxy", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer no more; lines are cut."""
        with self._turn:
            self._closing, loop = True, self._loop
        self._wake.send(b"x")
        if loop is not None:
            with contextlib.suppress(TimeoutError, RuntimeError):
                asyncio.run_coroutine_threadsafe(self._cleanup(), loop).result(_STOP_S)
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(loop.stop)
        if self._thread is not None:
            self._thread.join(_STOP_S)
        self._shut()

    def _shut(self) -> None:
        """Nobody is let wait at a door that nobody opens, nor told of it."""
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()
            self._context.get(Address).close()

    def _main(self) -> None:
        assert self._sock is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._sock, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            if any(key.fileobj is self._woken for key, _ in selector.select()):
                return
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(self._begin(self._sock))
            with self._turn:
                over, self._loop = self._closing, loop
            if not over:
                loop.run_forever()
        except Exception:
            log.exception("the door to sessions could not be opened")
        finally:
            try:
                loop.run_until_complete(self._cleanup())
            finally:
                self._shut()
                loop.close()

    async def _begin(self, sock: socket.socket) -> None:
        from aiohttp import web

        from .doors import Doors

        doors = self._doors = Doors(self._context, sock.getsockname()[1])
        runner = self._runner = web.ServerRunner(
            web.Server(doors.answer, auto_decompress=False, access_log=None, handler_cancellation=True),
            handle_signals=False,
        )
        await runner.setup()
        await web.SockSite(runner, sock).start()

    async def _cleanup(self) -> None:
        runner, self._runner = self._runner, None
        doors, self._doors = self._doors, None
        if runner is not None:
            await runner.cleanup()
        if doors is not None:
            await doors.close()
