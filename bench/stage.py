"""Where it is measured: a repository of 2,000 files, homes with durable databases, servers as own processes."""

import fcntl
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builderos import app as root
from builderos.assets.workspaces.commit import CommitIn
from builderos.assets.workspaces.sandboxes import InitIn
from builderos.core.actor import Actor
from builderos.core.application import Application
from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.ids import new_id
from builderos.core.operations import Reply
from builderos.core.schema import In
from builderos.core.settings import load_settings
from builderos.core.unit import Call, perform
from builderos.integrations.embedded_postgres import service as embedded_postgres
from builderos.trust.identity import service as identity

from .wire import FOLDERS, PER_FOLDER, Wire, fresh_text, path_of, text_of

REPO = "lab"
LIMITS = {
    "rate_per_token": 10**9, "rate_per_org": 10**9, "rate_logged": 10**9, "rate_anonymous_inits": 10**9,
    "max_commits_per_sandbox": 10**9,
    "max_files_per_sandbox": 10**9,
}  # fmt: skip
_GET_FLAGS, _SET_FLAGS, _TOP_OF_HIERARCHIES = 0x80086601, 0x40086602, 0x20000  # `chattr +T`
_CANDIDATES = 40
GIT_ENV = {
    "PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "bench", "GIT_AUTHOR_EMAIL": "bench@builderos.invalid", "GIT_COMMITTER_NAME": "bench",
    "GIT_COMMITTER_EMAIL": "bench@builderos.invalid", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8",
}  # fmt: skip


def git(
    *args: str, cwd: Path | None = None, stdin: bytes | None = None, env: dict[str, str] | None = None
) -> bytes:
    """Run git with nothing of the machine's configuration."""
    done = subprocess.run(
        ["git", *args], cwd=cwd, env=GIT_ENV | (env or {}), input=stdin, capture_output=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"git {' '.join(args)}: {done.stderr.decode()}")
    return done.stdout


def make_source(folder: Path) -> Path:
    """A repository with one commit of 2,000 files of 4 kB in 40 folders."""
    folder.mkdir()
    git("init", "-q", "-b", "main", ".", cwd=folder)
    for number in range(FOLDERS * PER_FOLDER):
        target = folder / path_of(number)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text_of(number))
    git(
        "-c", "core.bigFileThreshold=1", "add", "-A", cwd=folder
    )  # into a pack at once: nothing is deleted nearby
    git("commit", "-q", "-m", "2,000 files", cwd=folder)
    return folder


@dataclass(frozen=True)
class Sandbox:
    """A workspace, as its own token and as an actor for calls in process."""

    branch: str
    token: str
    actor: Actor

    def commit_body(self, number: int, seed: object, path: str | None = None) -> CommitIn:
        """Overwrite (or add) one 4 kB file."""
        return CommitIn(
            repo_name=REPO, branch=self.branch, file_path=path or path_of(number), content=fresh_text(seed),
            message=f"Change {number}",
        )  # fmt: skip


class Home:
    """A state folder with its database, used in process and by a server process."""

    def __init__(self, path: Path, source: Path, **settings: Any) -> None:
        self.path = path
        self.settings = load_settings(home=path, engine=False, **{**LIMITS, **settings})
        started = root.build(self.settings)
        self.app: Application = started.app
        self.context: Context = started.app.context
        self.org_id = root.ensure_default_org(self.context)
        self.owner_token = root.ensure_owner(self.context, self.org_id)
        self.owner = self.actor(self.owner_token)
        self.run("importRepo", self.owner, source=str(source), name=REPO)

    def actor(self, token: str) -> Actor:
        """Whom a token proves."""
        found = identity.authenticate(self.context.get(Database), self.context.get(identity.Hasher), token)
        assert found.actor is not None, found
        return found.actor

    def run(self, name: str, actor: Actor, /, **fields: Any) -> Any:
        """One operation in process, as the doors run it."""
        operation = self.app.operation(name)
        return self.perform(name, actor, operation.body(**fields))

    def perform(self, name: str, actor: Actor, body: In, secret: str | None = None) -> Any:
        """Like `run`, with a body that was validated before."""
        operation = self.app.operation(name)
        call = Call(
            actor, "none" if actor.role == "anonymous" else "valid", request_id=new_id("req"), tool=f"{name}@1",
            secret=secret,
        )  # fmt: skip
        verb = operation.handler
        result = perform(
            self.context, call, lambda unit: verb(unit, body), read_only=operation.effect == "read"
        )
        return result.body if isinstance(result, Reply) else result

    def open_sandbox(self) -> Sandbox:
        """A new workspace of an anonymous user."""
        out = self.perform("initSandbox", identity.anonymous_actor(self.org_id), InitIn(repo_name=REPO))
        return Sandbox(out.branch, out.reuse_token, self.actor(out.reuse_token))

    def init(self, _number: int) -> Any:
        """Open a workspace and look at nothing more."""
        return self.perform("initSandbox", identity.anonymous_actor(self.org_id), InitIn(repo_name=REPO))

    def commit(self, sandbox: Sandbox, body: CommitIn) -> Any:
        """Commit in process."""
        return self.perform("commit_and_log", sandbox.actor, body)

    def close(self) -> None:
        """Give the connections back and stop the database."""
        self.context.get(Database).close()
        embedded_postgres.stop(self.path)


class Server:
    """The real server process over a home."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        limits = {f"BUILDEROS_{name.upper()}": str(value) for name, value in LIMITS.items()}
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-m", "builderos.app"], stdout=subprocess.DEVNULL,
            stderr=(home / "bench.log").open("wb"),
            env={**os.environ, **limits, "BUILDEROS_HOME": str(home), "PORT": "0", **environment},
        )  # fmt: skip
        self.port = self._wait()
        self.ready_s = time.perf_counter() - self.started

    def _wait(self) -> int:
        note = self.home / "server.json"
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}")
            if time.perf_counter() - self.started > 60:
                raise RuntimeError("the server is not ready after 60 s")
            try:
                info = json.loads(note.read_text())
                if info["pid"] == self.process.pid:
                    wire = Wire(info["port"])
                    wire.get("/readyz")
                    wire.close()
                    return info["port"]
            except (FileNotFoundError, ValueError, ConnectionError):
                pass
            time.sleep(0.002)

    def resident_mb(self) -> float:
        """Resident memory of the server process."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("no VmRSS")

    def ended(self) -> str:
        """How it ended, with its last words; empty while it runs."""
        code = self.process.poll()
        return "" if code is None else f"ended with {code}: {(self.home / 'bench.log').read_text()[-4000:]}"

    def stop(self) -> None:
        """Ask it to end, and wait."""
        if self.ended():
            raise RuntimeError(f"the server {self.ended()}")
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


@contextmanager
def folder() -> Iterator[Path]:
    """A folder on the disk of the temporary files, deleted only when everything has been measured.

    ext4 without a journal keeps off inodes that were freed in the last minutes and looks at each of them for every
    file it makes, up to fifty times slower: what was deleted nearby, by an earlier run say, would decide what is
    measured.
    """
    path = Path(tempfile.mkdtemp(prefix="bos-bench-"))
    path.chmod(0o755)
    _spread(path)
    try:
        yield min((path / str(number) for number in range(_CANDIDATES)), key=_creation_s)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _creation_s(folder: Path) -> float:
    """How long it takes to make a file in a new folder."""
    folder.mkdir()
    took: list[float] = []
    for number in range(16):
        started = time.perf_counter()
        (folder / f"probe{number}").touch()
        took.append(time.perf_counter() - started)
    return statistics.median(took)


def _spread(path: Path) -> None:
    """Let a folder in `path` start in another part of the disk, where the file system knows how (ext4)."""
    fd = os.open(path, os.O_RDONLY)
    try:
        flags = bytearray(8)
        fcntl.ioctl(fd, _GET_FLAGS, flags)
        fcntl.ioctl(
            fd,
            _SET_FLAGS,
            (int.from_bytes(flags, sys.byteorder) | _TOP_OF_HIERARCHIES).to_bytes(8, sys.byteorder),
        )
    except OSError:
        print("     this file system places folders as it likes", flush=True)
    finally:
        os.close(fd)
