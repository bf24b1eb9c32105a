"""The server of this machine: find it, start it when none answers, stop it.

One server holds a home (`server.lock`) and writes `server.json` into it while it answers. Clients that find none agree
on `start.lock` who starts it; the others wait there and find it running.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from .errors import ClientError, no_server
from .http import Client

if TYPE_CHECKING:
    from subprocess import Popen

DEFAULT_PORT: Final = 8420
START_S: Final = 90.0  # the first start makes a database, on a slow disk next to other work
STOP_S: Final = 40.0  # the server drains for up to 20 s
_STEP_S: Final = 0.02
_PROBE_S: Final = 5.0
_LOG_LINES: Final = 15
_LOG_LIMIT: Final = 1024 * 1024


@dataclass(frozen=True)
class Running:
    """A server that answers. `started` is false when it ran before it was asked for."""

    url: str
    pid: int
    version: str
    started_at: str
    home: Path
    started: bool = False

    def owner_token(self) -> str:
        """The local owner's credential. Raises `ClientError` when this user may not read it."""
        path = self.home / "owner.token"
        try:
            return path.read_text("utf-8").strip()
        except OSError as error:
            raise ClientError(
                {"type": "urn:builderos:problem:unauthenticated", "title": "Unauthenticated", "status": 401,
                 "code": "unauthenticated", "detail": f"cannot read the owner's credential {path}: {error.strerror}",
                 "hint": "Run this as the user who runs the server, or set BUILDEROS_TOKEN", "retryable": False}
            ) from error  # fmt: skip


def find(home: Path) -> Running | None:
    """The server of this home, when it answers."""
    info = _read(home / "server.json")
    if info is None or not _alive(info["pid"]):
        return None
    for url in _addresses(info):
        if _answers(url):
            version, since = str(info.get("version", "")), str(info.get("started_at", ""))
            return Running(url, info["pid"], version, since, home)
    return None


def ensure(home: Path) -> Running:
    """The server of this home; started in the background when none answers. Raises `ClientError`."""
    running = find(home)
    if running is not None:
        return running
    try:
        home.mkdir(parents=True, exist_ok=True)
        with _one_starter(home):
            return find(home) or _start(home)
    except OSError as error:
        raise no_server(
            f"cannot use the state folder {home}: {error.strerror}", "Choose another one with BUILDEROS_HOME"
        ) from error


def environment(home: Path, **settings: str | None) -> dict[str, str]:
    """The environment of a server for this home; settings that are None stay as they are."""
    named = {name: value for name, value in settings.items() if value is not None}
    return {**os.environ, "BUILDEROS_HOME": str(home), **named}


def command() -> list[str]:
    """The program that serves; `-P`, so that no file of the current folder is taken for a module."""
    return [sys.executable, "-P", "-m", "builderos.app"]


def stop(home: Path) -> bool:
    """Tell the server of this home to stop and wait until it is gone; False when none runs. Raises `ClientError`."""
    running = find(home)
    if running is None or not _is_server(running.pid):
        return False
    try:
        os.kill(running.pid, signal.SIGTERM)
    except ProcessLookupError:
        return True
    except PermissionError as error:
        raise ClientError(
            {"type": "urn:builderos:problem:policy_denied", "title": "Policy denied", "status": 403,
             "code": "policy_denied", "detail": f"the server (process {running.pid}) belongs to another user",
             "hint": "Stop it as that user", "retryable": False}
        ) from error  # fmt: skip
    deadline = time.monotonic() + STOP_S
    while _alive(running.pid):
        if time.monotonic() > deadline:
            raise no_server(
                f"the server (process {running.pid}) is still draining after {STOP_S:.0f} s",
                "Wait, or look at its log: " + str(home / "server.log"),
            )
        time.sleep(_STEP_S)
    return True


def _start(home: Path) -> Running:
    import subprocess

    log = home / "server.log"
    if log.exists() and log.stat().st_size > _LOG_LIMIT:
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as out:
        log.chmod(0o600)
        before = out.tell()
        server = subprocess.Popen(
            command(), env=environment(home, PORT=_port()), cwd=home, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True,
        )  # fmt: skip
    return await_ready(home, server, log, before)


def await_ready(home: Path, server: "Popen[bytes]", log: Path | None, before: int = 0) -> Running:
    """Wait until a server of this home answers: the one just started, or one that was faster.

    `log` from the byte `before` on is shown when it fails. Raises `ClientError`.
    """
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        found = find(home)
        if found is not None:
            return Running(
                found.url, found.pid, found.version, found.started_at, home, started=found.pid == server.pid
            )
        code = server.poll()
        if code is not None and code != 0:  # 0: another server holds this home and will answer
            raise _failed(f"the local server ended with code {code}", log, before)
        time.sleep(_STEP_S)
    raise _failed(f"the local server was not ready after {START_S:.0f} s", log, before)


def _failed(detail: str, log: Path | None, before: int) -> ClientError:
    error = no_server(detail, f"See {log}" if log else "See what it printed above")
    if log is not None:
        with log.open("rb") as source:
            source.seek(before)
            lines = source.read()[-_LOG_LIMIT:].decode("utf-8", "replace").splitlines()
        error.problem["log"] = lines[-_LOG_LINES:]
    return error


@contextlib.contextmanager
def _one_starter(home: Path) -> Generator[None]:
    """Hold the right to start a server for this home; the kernel gives it back when this process dies."""
    import fcntl

    with (home / "start.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _port() -> str | None:
    """The usual port when it is free, so that addresses stay the same; otherwise any free one."""
    if os.environ.get("PORT"):
        return None
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", DEFAULT_PORT))
        except OSError:
            return "0"
    return None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        info = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    right = isinstance(info, dict) and isinstance(info.get("pid"), int) and isinstance(info.get("url"), str)  # pyright: ignore[reportUnknownMemberType]
    return info if right else None  # pyright: ignore[reportUnknownVariableType]


def _addresses(info: dict[str, Any]) -> list[str]:
    """Where to try: on this machine first, for the announced address may be that of a proxy."""
    host = urlsplit(str(info["url"])).hostname or ""
    if host in ("127.0.0.1", "::1", "localhost"):
        return [str(info["url"])]
    return [f"http://127.0.0.1:{info.get('port', DEFAULT_PORT)}", info["url"]]


def _answers(url: str) -> bool:
    client = Client(url, timeout_s=_PROBE_S)
    try:
        return client.call("GET", "/healthz").get("status") == "ok"
    except ClientError:
        return False
    finally:
        client.close()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # another user's
    return not _is_zombie(pid)


def _is_server(pid: int) -> bool:
    """Whether the process may be told to stop: a number left by a killed server can belong to somebody else now."""
    try:
        return b"builderos" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True


def _is_zombie(pid: int) -> bool:
    """Ended, but its parent has not asked yet (where the kernel tells)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[:1] == ["Z"]
