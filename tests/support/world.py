"""A whole server in the test's process: real database, real git on disk, requests through the HTTP door."""

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from anyio.from_thread import start_blocking_portal

from builderos import app as root
from builderos.assets.memory.service import Files
from builderos.core.application import Application
from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.keys import ServerKeys
from builderos.core.settings import Settings, load_settings
from builderos.execution.compute.service import SandboxProviders
from builderos.execution.gateway.service import Gateway
from builderos.trust.policy.rules import Policy
from builderos.workloads.apps import service as apps
from builderos.workloads.deployments.service import Care
from builderos.workloads.endpoints import service as endpoints
from builderos.workloads.sessions.service import Keeper

from .databases import SECRET, FreshDatabase
from .inprocess import InProcess

Json = dict[str, Any]
UNLIMITED: Json = {
    "rate_per_token": 10**6, "rate_per_org": 10**6, "rate_anonymous_inits": 10**6, "rate_invalid_tokens": 10**6,
    "max_sessions": 1000, "max_apps": 1000,
}  # fmt: skip
# Checked once per process: they are the same for all worlds, and never change.
_shipped_rules = functools.cache(Policy.default)
GIT_ENV = {
    "PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@builderos.invalid", "GIT_COMMITTER_NAME": "t",
    "GIT_COMMITTER_EMAIL": "t@builderos.invalid", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8",
}  # fmt: skip


def git(*args: str, cwd: Path | str | None = None, check: bool = True, stdin: bytes | None = None) -> str:
    """Run the real git and return its output."""
    done = subprocess.run(["git", *args], cwd=cwd, env=GIT_ENV, input=stdin, capture_output=True, check=False)
    if check and done.returncode:
        raise AssertionError(f"git {' '.join(args)}: {done.stderr.decode()}")
    return done.stdout.decode(errors="replace").strip()


def make_repository(folder: Path, files: dict[str, str | bytes] | None = None, branch: str = "main") -> Path:
    """A repository with one commit of `files`."""
    folder.mkdir(parents=True)
    git("init", "-q", "-b", branch, ".", cwd=folder)
    for path, content in (
        files if files is not None else {"README.md": "# Lab\n", "src/app.py": "print(1)\n"}
    ).items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())
    git("add", "-A", cwd=folder)
    git("commit", "-q", "--allow-empty", "-m", "first", cwd=folder)
    return folder


@dataclass
class Sandbox:
    """An open workspace with its token."""

    world: "World"
    repo_name: str
    branch: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        """Authorization of this sandbox."""
        return {"Authorization": f"Bearer {self.token}"}

    def post(self, path: str, /, **body: Any) -> Json:
        """Call a tool route as this sandbox on its own branch; asserts success."""
        return self.world.ok(self.try_post(path, **body))

    def try_post(self, path: str, /, **body: Any) -> Any:
        """Like `post`, but returns the response, whatever it is."""
        body = {"repo_name": self.repo_name, "branch": self.branch} | body
        return self.world.http.post(path, json=body, headers=self.headers)

    def commit(self, files: dict[str, str | None], message: str = "Change", **more: Any) -> Json:
        """Commit text files (None deletes)."""
        listed = [
            {"path": p, "delete": True} if c is None else {"path": p, "content": c} for p, c in files.items()
        ]
        return self.post("/commit_and_log_output", files=listed, message=message, **more)


class World:
    """One server. `http` is a client without credential; `owner` holds the owner's."""

    def __init__(self, home: Path, database: FreshDatabase, **settings: Any) -> None:
        self.home = home
        self.settings: Settings = load_settings(home=home, engine=False, **{**UNLIMITED, **settings})
        home.mkdir(parents=True, exist_ok=True)
        with mock.patch.object(Policy, "default", _shipped_rules):
            self.context: Context = root.assemble(
                self.settings, ServerKeys(SECRET), Database(database.keys, pool_size=8)
            )
        self.org_id = root.ensure_default_org(self.context)
        self.owner_token = root.ensure_owner(self.context, self.org_id)
        self.app = Application(self.context, list(root.GROUPS))
        self.asgi = root.http_app(root.Started(self.app, database.engine_url))
        # One event loop for all requests, as in a server: what waits in one loop cannot be woken from another.
        self._running = ExitStack()
        self.portal = self._running.enter_context(start_blocking_portal())
        self.http = InProcess(self.asgi, self.portal, "http://127.0.0.1")
        self.owner = {"Authorization": f"Bearer {self.owner_token}"}

    def close(self) -> None:
        """End the event loop and give the connections back."""
        self._running.close()
        self.context.get(Keeper).close()
        self.context.get(Care).close()
        self.context.get(endpoints.Keeper).close()
        self.context.get(apps.Keeper).close()
        self.context.get(SandboxProviders).close()
        self.context.get(Gateway).close()
        self.context.get(Files).close()
        self.context.get(Database).close()

    @staticmethod
    def ok(response: Any, status: int | None = None) -> Json:
        """The body of a successful reply."""
        assert response.status_code < 300, response.text
        assert status in (None, response.status_code), response.text
        return response.json()

    @staticmethod
    def problem(response: Any, code: str) -> Json:
        """The body of a problem reply with this code."""
        assert response.headers["content-type"] == "application/problem+json", response.text
        body = response.json()
        assert body["code"] == code, body
        assert body["status"] == response.status_code
        return body

    def as_owner(self, method: str, path: str, **kw: Any) -> Any:
        """A call as the local owner."""
        return self.http.request(method, path, headers=self.owner, **kw)

    def import_repo(self, source: Path, name: str = "lab") -> Json:
        """Import a repository as the owner."""
        return self.ok(
            self.as_owner("POST", "/v1/repos/import", json={"source": str(source), "name": name}), 201
        )

    def open_sandbox(self, repo_name: str = "lab", **body: Any) -> Sandbox:
        """Open an anonymous sandbox."""
        reply = self.ok(
            self.http.post("/sandbox/init", json={"mode": "branch", "repo_name": repo_name, **body})
        )
        return Sandbox(self, repo_name, reply["branch"], reply["reuse_token"])


@contextmanager
def world_in_temp(database: FreshDatabase, **settings: Any) -> Iterator[World]:
    """A world with a home of its own and one imported repository `lab`."""
    folder = Path(tempfile.mkdtemp(prefix="bos-"))
    world = World(folder / "home", database, **settings)
    try:
        world.import_repo(make_repository(folder / "source"))
        yield world
    finally:
        world.close()
        shutil.rmtree(folder, ignore_errors=True)
