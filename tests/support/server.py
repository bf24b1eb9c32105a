"""A real server process with a home of its own, reached through its port; ended by its process id.

A test module or conftest that wants one for its whole run imports the fixture:

    from tests.support.server import running_server  # noqa: F401
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from builderos.client.http import Client

from .forks import Forked, module, standing_by

ROOT = Path(__file__).parents[2]
READY_S = 120
STARTED: list[Path] = []  # logs of this process's servers: what a failed test shows, see `conftest`
GONE_S = 120
SETTINGS = {
    "PORT": "0",
    "BUILDEROS_RATE_PER_TOKEN": "1000000",
    "BUILDEROS_RATE_PER_ORG": "1000000",
    "BUILDEROS_RATE_ANONYMOUS_INITS": "1000000",
    "BUILDEROS_RATE_INVALID_TOKENS": "1000000",
}


def environment(home: Path, **settings: str) -> dict[str, str]:
    """The environment of a server or a command that belongs to `home`: nothing of the user's own is in it."""
    inherited = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("BUILDEROS_", "XDG_", "GIT_")) and k != "PORT"
    }
    private = {"XDG_CONFIG_HOME": str(home.parent / "config"), "XDG_CACHE_HOME": str(home.parent / "cache")}
    return {**inherited, **private, **SETTINGS, "BUILDEROS_HOME": str(home), **settings}


@dataclass
class Server:
    """A running server. `env` is what a command needs to find it."""

    process: "subprocess.Popen[bytes] | Forked"
    home: Path
    env: dict[str, str]
    log: Path

    @property
    def info(self) -> dict[str, Any]:
        """What it announced."""
        return json.loads((self.home / "server.json").read_text())

    @property
    def url(self) -> str:
        """Its address."""
        return self.info["url"]

    @property
    def owner_token(self) -> str:
        """The local owner's credential."""
        return (self.home / "owner.token").read_text().strip()

    def client(self, token: str | None = None) -> Client:
        """A client without credential, or with one."""
        return Client(self.url, token)

    def owner(self) -> Client:
        """A client that acts as the owner."""
        return self.client(self.owner_token)

    def kill(self) -> None:
        """End it as a power cut would, without a chance to clean up."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(GONE_S)

    def stop(self) -> int:
        """Let it drain and end; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(GONE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


def start(
    home: Path, program: str = "builderos.app", *, forked: bool = True, run: Callable[[str], None] = module,
    **settings: str,
) -> Server:  # fmt: skip
    """Start a server and wait until it answers. Environment variables may be given as `settings`.

    A new home below the folder of the test run has its database already, see `prepare`; with `forked` the program was
    imported already, see `forks`, and is run by `run`.
    """
    if not home.exists():
        prepare(home)
    return _start(home, program, run=run if forked and program == "builderos.app" else None, **settings)


def prepare(home: Path) -> None:
    """Make a home as a server leaves it that was started and stopped once; only the first of a test run takes long."""
    folder = next((above for above in home.parents if above.name.startswith("builderos-test-")), None)
    if folder is None:
        return
    home.parent.mkdir(parents=True, exist_ok=True)
    with (folder / "home.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "as-left").exists():
            draft = folder / "as-begun"
            shutil.rmtree(draft, ignore_errors=True)  # of a process that was killed
            _start(draft, BUILDEROS_ENGINE="false").stop()
            (draft / "test-server.log").unlink()
            draft.rename(folder / "as-left")
    subprocess.run(
        ["cp", "-a", str(folder / "as-left"), str(home)], check=True
    )  # with the owners of the files


def _start(
    home: Path, program: str = "builderos.app", *, run: Callable[[str], None] | None = module, **settings: str
) -> Server:
    home.mkdir(parents=True, exist_ok=True)
    env, log = environment(home, **settings), home / "test-server.log"
    with log.open("ab") as out, Path(os.devnull).open("rb") as nothing:
        process = (
            Forked(run, program, streams=(nothing.fileno(), out.fileno(), out.fileno()), cwd=home, env=env)
            if run
            else subprocess.Popen(
                [sys.executable, "-m", program], env=env, cwd=home, stdin=nothing, stdout=out, stderr=out
            )
        )
    server = Server(process, home, env, log)
    STARTED.append(log)
    deadline = time.monotonic() + READY_S
    while not _announced(home, process.pid):
        failed = process.poll() is not None or time.monotonic() > deadline
        if failed:
            process.kill()
            raise AssertionError(f"the server did not start:\n{log.read_text()[-4000:]}")
        time.sleep(0.02)
    return server


def _announced(home: Path, pid: int) -> bool:
    """Whether this process has announced itself; a killed one may have left its announcement behind."""
    try:
        return json.loads((home / "server.json").read_text())["pid"] == pid
    except (FileNotFoundError, ValueError):
        return False


@pytest.fixture(scope="session")
def running_server(run_folder: Path) -> Iterator[Server]:
    """One server for all tests of this process: leave it running, and use names of your own in it."""
    server = start(run_folder / f"s{uuid.uuid4().hex[:8]}" / "home", run=standing_by)
    try:
        yield server
    finally:
        server.stop()
