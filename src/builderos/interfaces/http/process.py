"""One server process per home (`place`): `server.json` for clients, and a drain on SIGTERM."""

import asyncio
import functools
import gc
import json
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from builderos import VERSION
from builderos.core.clock import rfc3339, utcnow
from builderos.core.settings import Settings

from . import inward
from .place import address
from .traffic import Traffic
from .wire import Wire

log = logging.getLogger("builderos.http")
_COLLECT: Final = (10_000, 20, 20)  # Python's own are 700, 10, 10: ten times within one commit
LAST_S: Final = 2
"""How long requests may take to give up that are cut off when the time to drain is over."""


def run(
    asgi: ASGIApp,
    settings: Settings,
    sock: socket.socket,
    traffic: Traffic,
    on_ready: Callable[[str], None],
    on_overdue: Callable[[], None],
    more: Mapping[str, int | str] | None = None,
    *,
    jails: bool = True,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain. `server.json` stands in the home meanwhile, with `more`.

    While it drains, what is under way goes on, and what comes in is refused with 503. `on_overdue` is called, in a
    thread of its own, when threads still work behind that: nobody can interrupt them. `jails`: what apps and sessions
    may call is open to them meanwhile.
    """
    home = settings.home_dir
    port = sock.getsockname()[1]
    url = settings.public_url or address(settings, sock)
    config = uvicorn.Config(
        asgi, log_level="warning", log_config=None, access_log=False, server_header=False, date_header=False,
        lifespan="on", timeout_graceful_shutdown=LAST_S, loop="uvloop" if _has_uvloop() else "asyncio", http=Wire,
        ws="none", proxy_headers=False,
    )  # fmt: skip
    announce = functools.partial(_announce, home, url, port, on_ready, more or {})
    server = _Draining(config, traffic, settings.drain_s, announce, on_overdue)
    server.inner = (asgi, inward.listen(home)) if jails else None

    def leave(_number: int, _frame: object) -> None:
        server.should_exit = True

    # uvicorn raises a signal again once it has drained; by default that would end the process before what else is
    # open (the engine, the database) was put away.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    try:
        server.run(sockets=[sock])
    finally:
        server.ended()
        inward.leave(home)
        (home / "server.json").unlink(missing_ok=True)


class _Draining(uvicorn.Server):
    """Says that it is ready once it really listens; asked to end, it lets requests end first."""

    def __init__(
        self,
        config: uvicorn.Config,
        traffic: Traffic,
        drain_s: float,
        ready: Callable[[], None],
        overdue: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._traffic = traffic
        self._drain_s = drain_s
        self._ready = ready
        self._until: float | None = None
        self._watch = threading.Timer(drain_s + LAST_S + 1, overdue)
        self._watch.daemon = True
        self.inner: tuple[ASGIApp, socket.socket] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn's startup, then the announcement."""
        await super().startup(sockets)
        if self.started and self.inner is not None:
            self.servers.append(await inward.serve(self, *self.inner))
        if self.started:
            await asyncio.to_thread(self._ready)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal begins to drain; a second one ends at once."""
        if self._until is not None or not self.started:
            super().handle_exit(sig, frame)
            return
        self._traffic.draining = True
        self._until = time.monotonic() + self._drain_s
        self._watch.start()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether it is time to go."""
        if self._until is not None and not self.should_exit:
            self._traffic.let_go()
            late = time.monotonic() > self._until
            if late:
                log.warning("%d requests did not end in time and are cut off", self._traffic.active)
            self.should_exit = late or self._traffic.active == 0
        return await super().on_tick(counter)

    def ended(self) -> None:
        """Nothing is overdue any more."""
        self._watch.cancel()


def _announce(
    home: Path, url: str, port: int, on_ready: Callable[[str], None], more: Mapping[str, int | str]
) -> None:
    info = {"url": url, "port": port, "pid": os.getpid(), "version": VERSION, "started_at": rfc3339(utcnow())}
    info |= more
    draft = home / f".server.{os.getpid()}"
    draft.write_text(json.dumps(info))
    draft.rename(home / "server.json")
    _leave_what_is_loaded()
    on_ready(url)


def _leave_what_is_loaded() -> None:
    """Have the collector of cycles leave alone what was loaded up to now: it stays as long as the process.

    Going through all of it again and again took a tenth of the processor time of a server under load.
    """
    gc.freeze()
    gc.set_threshold(*_COLLECT)
    gc.enable()  # where `early` has left it off


def _has_uvloop() -> bool:
    try:
        import uvloop  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError:
        return False
    return True
