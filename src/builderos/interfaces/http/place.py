"""Where a server lives: its home, which one process holds, and its address. Loads next to nothing."""

import fcntl
import json
import socket
from pathlib import Path
from typing import IO, Any, Final

from builderos.core.problems import Problem
from builderos.core.settings import Settings

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})


class AlreadyRunning(Exception):
    """Another server holds this home; `info` is its `server.json`."""

    def __init__(self, info: dict[str, Any]) -> None:
        super().__init__(info.get("url", "unknown address"))
        self.info = info


def acquire(home: Path) -> IO[str]:
    """Take the home for this process until it ends. Raises `AlreadyRunning`."""
    home.mkdir(parents=True, exist_ok=True)
    lock = (home / "server.lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise AlreadyRunning(read_info(home)) from None
    (home / "server.json").unlink(missing_ok=True)  # left by a server that was killed
    return lock


def read_info(home: Path) -> dict[str, Any]:
    """`server.json` of a running server, or `{}`."""
    try:
        return json.loads((home / "server.json").read_text())
    except (FileNotFoundError, ValueError):
        return {}


def listen(settings: Settings) -> socket.socket:
    """Bind the configured address; port 0 picks a free one. Raises `Problem("unavailable")` when it is taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    sock = socket.socket(family)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((settings.host, settings.port))
    except OSError as error:
        sock.close()
        raise Problem(
            "unavailable", f"cannot listen on {settings.host}:{settings.port}: {error.strerror}",
            hint="Choose another port with PORT=…, or PORT=0 for any free one.",
        ) from error  # fmt: skip
    sock.listen(512)
    return sock


def with_address(settings: Settings, sock: socket.socket) -> Settings:
    """The settings with the address that links begin with. Beyond loopback only a person knows it: `public_url`."""
    if settings.public_url is not None or settings.host not in LOOPBACK:
        return settings
    return settings.model_copy(update={"public_url": address(settings, sock)})


def address(settings: Settings, sock: socket.socket) -> str:
    """The URL of what listens."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{sock.getsockname()[1]}"
