"""What has an address: a listener of its own that answers with the version it points to.

Each place has an address of its own in 127.0.0.0/8. Cookies do not know ports: pages of strangers on another port of
the console's host would get its cookies, and could set them. Another address is another site to every browser.
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from .version import Version

_MOST: Final = 256
_BACKLOG: Final = 256


class Place:
    """Lives on the loop of its deployer."""

    def __init__(
        self, name: str, *, warm_s: float, drain_s: float, forget: Callable[[Version], None]
    ) -> None:
        self.name = name
        self._forget = forget
        self.current: Version | None = None
        self.before: Version | None = None
        self.url = ""
        self._host = ""
        self._warm_s = warm_s
        self._drain_s = drain_s
        self._runner: web.ServerRunner | None = None
        self._open = 0
        self._cooling: asyncio.TimerHandle | None = None
        self._tasks: dict[asyncio.Task[None], Version] = {}

    async def open(self, address: str) -> None:
        """Listen, at `address` again where that is free. Raises `OSError`."""
        if self._runner is not None:
            return
        listener = _listener(self.name, address)
        runner = web.ServerRunner(web.Server(self._answer, auto_decompress=False, access_log=None))
        await runner.setup()
        await web.SockSite(runner, listener).start()
        host, port = listener.getsockname()
        self._runner, self._host, self.url = runner, f"{host}:{port}", f"http://{host}:{port}/"

    def point_to(self, version: Version) -> None:
        """Serve this version from now on: one assignment. The one before stays warm."""
        if self.current is version:
            return
        old, self.current = self.current, version
        version.served = True
        if self.before is not None and self.before is not version:
            self.retire(self.before)
        self.before = old
        if old is not None:
            old.served = False
            self._cool_later(old)

    def _cool_later(self, old: Version) -> None:
        if self._cooling is not None:
            self._cooling.cancel()

        def cool() -> None:
            if self.before is old:
                self.before = None
                self.retire(old)

        self._cooling = asyncio.get_running_loop().call_later(self._warm_s, cool)

    def let_go(self, version: Version) -> None:
        """It is stopped by somebody: nothing points to it any more."""
        version.served = False
        if self.current is version:
            self.current = None
        if self.before is version:
            self.before = None

    def retire(self, version: Version) -> None:
        """End a version once its last answer is out, or soon after."""
        task = asyncio.get_running_loop().create_task(self._drained(version))
        self._tasks[task] = version
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    async def _drained(self, version: Version) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._drain_s):
                await version.idle.wait()
        if version is not self.current and version is not self.before:
            await version.close()
            self._forget(version)

    async def close(self) -> None:
        """Answer no more."""
        if self._cooling is not None:
            self._cooling.cancel()
        leaving = dict(self._tasks)
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        for version in leaving.values():
            await version.close()
        runner, self._runner = self._runner, None
        self.url = ""
        if runner is not None:
            await runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Host") != self._host:  # a name that was made to point here (DNS rebinding)
            return web.Response(status=421, text="This is another address.\n")
        version = self.current
        if version is None or self._open >= _MOST:
            return web.Response(status=503, headers={"Retry-After": "1"}, text="Nothing is served here.\n")
        self._open += 1
        try:
            return await version.answer(request)
        finally:
            self._open -= 1


def _listener(name: str, address: str) -> socket.socket:
    """A socket at an address of the place's own; at the port that it had, where that is free. Raises `OSError`."""
    digest = sha256(name.encode()).digest()
    host = f"127.{64 + digest[0] % 64}.{digest[1]}.{1 + digest[2] % 254}"
    known = urlsplit(address)
    for port in (known.port or 0, 0) if known.hostname == host else (0,):
        listener = socket.socket()
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(_BACKLOG)
        except OSError as error:
            listener.close()
            if error.errno != errno.EADDRINUSE:
                raise
            continue
        listener.setblocking(False)
        return listener
    raise OSError(errno.EADDRINUSE, f"no port is free at {host}")
