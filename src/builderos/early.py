"""What a server's process does before it loads the rest: it takes its home and its address and has its database start.

The rest takes a second to load, and so the database, a process of its own, is there by then. Settings and faults of
them come first, too.
"""

import functools
import gc
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from pydantic import ValidationError

from builderos.core.problems import Problem
from builderos.core.settings import Settings, load_settings
from builderos.integrations.embedded_postgres import service as embedded_postgres
from builderos.interfaces.http import place

if TYPE_CHECKING:
    import socket


class Starting:
    """The embedded database of a home on its way; nothing where it is not `wanted` or another one is configured."""

    def __init__(self, settings: Settings, *, wanted: bool) -> None:
        self._home = settings.home_dir
        self._started: Future[embedded_postgres.Cluster] | None = None
        if wanted and settings.database_url is None:
            thread = ThreadPoolExecutor(1, "database-start")
            self._started = thread.submit(embedded_postgres.start, self._home)
            thread.shutdown(wait=False)

    def wait(self) -> None:
        """Return once it runs; raises what its start raised."""
        if self._started is not None:
            self._started.result()

    def call_off(self) -> None:
        """There will be no server: stop it."""
        if self._started is not None and self._started.exception() is None:
            embedded_postgres.stop(self._home)


@dataclass(frozen=True)
class Begun:
    """What a process holds that is about to serve. Without `doors` it is a worker: its database is elsewhere."""

    settings: Settings
    doors: bool
    lock: IO[str]
    sock: "socket.socket"
    database: Starting


@functools.cache
def begin() -> Begun | int:
    """Begin, once, to serve as environment and command line say; the exit code where that has ended already."""
    # Loading makes what stays: the collector of cycles would only go through all of it again and again.
    # `process.run` has it work once the server is there.
    gc.disable()
    try:
        settings = load_settings()
    except ValidationError as error:
        for item in error.errors(include_url=False, include_input=False):
            where = ".".join(map(str, item["loc"])) or "combination"
            print(f"setting {where}: {item['msg']}", file=sys.stderr)
        return 2
    try:
        lock = place.acquire(settings.home_dir)
    except place.AlreadyRunning as running:
        print(f"BuilderOS is already serving at {running.info.get('url', 'an unknown address')}", flush=True)
        return 0
    try:
        sock = place.listen(settings)
    except Problem as problem:
        lock.close()
        return told(problem)
    doors = sys.argv[1:] != ["worker"]
    return Begun(place.with_address(settings, sock), doors, lock, sock, Starting(settings, wanted=doors))


def told(problem: Problem) -> int:
    """Say why there is no server; the exit code."""
    print(f"{problem.detail}\n{problem.hint}", file=sys.stderr, flush=True)
    return 1
