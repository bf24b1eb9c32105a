"""Several machines of one installation: processes with state folders of their own, on one database and one store.

Where it is allowed, each worker lives in a network namespace of its own, so that nothing but the database's socket and
the shared folder connects it to the others.
"""

import functools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from builderos.execution.compute.service import SandboxProviders

from . import forks
from .databases import SECRET, FreshDatabase
from .server import GONE_S, READY_S, Server, environment
from .servers import PATIENCE_S, pause
from .world import make_repository


@functools.cache
def apart() -> bool:
    """Whether this user may give a process a network of its own."""
    tried = subprocess.run(
        ["unshare", "--net", "ip", "link", "set", "lo", "up"], capture_output=True, check=False
    )
    return tried.returncode == 0


@dataclass
class Machines:
    """Machines by name. Each is started when it is first wanted."""

    folder: Path
    database: FreshDatabase
    settings: dict[str, str] = field(default_factory=dict)
    found: dict[str, Server] = field(default_factory=dict)

    @property
    def effects(self) -> Path:
        """What runs have done on the outside, a key on each line."""
        return self.folder / "effects"

    @property
    def _by_socket(self) -> bool:
        """Whether the database is reached without any network."""
        return conninfo_to_dict(self.database.superuser_conninfo).get("host", "/").startswith("/")

    def start(self, name: str, *, doors: bool, **settings: str) -> Server:
        """Start a machine and wait until its engine runs; one that was killed may be started again."""
        home = self.folder / name / "home"
        home.mkdir(parents=True, exist_ok=True)
        env = environment(
            home, BUILDEROS_DATABASE_URL=self.database.superuser_conninfo, BUILDEROS_SECRET_KEY=SECRET.decode(),
            BUILDEROS_ARTIFACT_URL=f"file://{self.folder}/shared", EFFECTS_LOG=str(self.effects),
            **{**self.settings, **settings},
        )  # fmt: skip
        log = home / "test-server.log"
        words = ("tests.support.shipping", *(() if doors else ("worker",)))
        run = forks.module if doors or not self._by_socket or not apart() else forks.apart
        with log.open("ab") as out, Path(os.devnull).open("rb") as nothing:
            process = forks.Forked(
                run, *words, streams=(nothing.fileno(), out.fileno(), out.fileno()), cwd=home, env=env
            )
        made = self.found[name] = Server(process, home, env, log)
        self._await(made)
        return made

    def _await(self, server: Server) -> None:
        begun = time.monotonic()
        while not self._runs(server):
            assert server.process.poll() is None, server.log.read_text()[-3000:]
            assert time.monotonic() < begun + READY_S, server.log.read_text()[-3000:]
            pause(begun)

    def _runs(self, server: Server) -> bool:
        """Whether it has announced itself, and its engine holds a lease."""
        try:
            pid = json.loads((server.home / "server.json").read_text())["pid"]
        except (FileNotFoundError, ValueError):
            return False
        leases = "select count(*) from pg_stat_activity where application_name = 'builderos-lease' and datname = %s"
        (count,) = self.sql(leases, self.database.name)[0]
        return pid == server.process.pid and int(str(count)) >= sum(
            s.process.poll() is None for s in self.found.values()
        )

    def sql(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows, as nobody but an administrator of the database sees them."""
        with psycopg.connect(self.database.superuser_conninfo, autocommit=True) as connection:
            return connection.execute(query, parameters).fetchall()  # pyright: ignore[reportArgumentType]

    def place(self, name: str) -> str:
        """What `ops.sandbox_runs` calls this machine."""
        return SandboxProviders(self.found[name].home).place

    def pid(self, name: str) -> int:
        """Its process."""
        return self.found[name].process.pid

    def close(self) -> None:
        """End all of them."""
        for server in self.found.values():
            if server.process.poll() is None:
                server.process.send_signal(signal.SIGCONT)
                server.process.kill()
                server.process.wait(GONE_S)


@dataclass
class Fleet:
    """Machines with a server, and a branch of a repository on which runs are started there."""

    machines: Machines
    branch: str
    token: str
    count: int = 0

    @property
    def server(self) -> Server:
        """The one with doors."""
        return self.machines.found["server"]

    def commit(self, files: dict[str, str]) -> None:
        """Commit files to the branch."""
        for path, content in files.items():
            body = {"file_path": path, "content": content, "message": f"Add {path}"}
            self.server.client(self.token).call("POST", "/commit_and_log_output", body)

    def start(self, pipeline: str, **body: Any) -> str:
        """Publish a pipeline on the branch and start it; the run's id."""
        self.count += 1
        name = f"p{self.count}"
        self.commit({f"ship/{name}/pipeline.yaml": f"name: {name}\n{pipeline}"})
        return self.start_again(name, **body)

    def start_again(self, name: str, **body: Any) -> str:
        """Start a pipeline of the branch; the run's id."""
        asked = {"pipeline": name, "repo_name": "lab", "branch": self.branch, **body}
        return str(self.server.client(self.token).call("POST", "/v1/runs", asked)["run_id"])

    def run(self, id_: str) -> dict[str, Any]:
        """The run as the door shows it."""
        return self.server.client(self.token).call("GET", f"/v1/runs/{id_}")

    def attempts(self, id_: str, name: str) -> list[tuple[Any, ...]]:
        """Place, status and reason of each attempt of a step with a command, as far as it began."""
        query = "select place, status, reason from ops.sandbox_runs where run_id = %s and step_id = %s order by attempt"
        return self.machines.sql(query, id_, name)

    def until(
        self, id_: str, good: Callable[[dict[str, Any]], bool], within_s: float = PATIENCE_S
    ) -> dict[str, Any]:
        """The run once it is as wanted."""
        begun = time.monotonic()
        while not good(found := self.run(id_)):
            assert time.monotonic() < begun + within_s, found
            pause(begun)
        return found

    def over(self, id_: str, within_s: float = PATIENCE_S) -> dict[str, Any]:
        """The run once it is over."""
        return self.until(id_, lambda run: run["ended_at"] is not None, within_s)


@contextmanager
def fleet(database: FreshDatabase, **settings: str) -> Iterator[Fleet]:
    """A server with an open sandbox; workers are started by the test."""
    folder = Path(tempfile.mkdtemp(prefix="bos-"))
    folder.chmod(0o755)
    machines = Machines(folder, database, settings)
    try:
        server = machines.start("server", doors=True)
        source = make_repository(folder / "source", {"README.md": "# Lab\n"})
        server.owner().call("POST", "/v1/repos/import", {"source": str(source), "name": "lab"})
        made = server.client().call("POST", "/sandbox/init", {"repo_name": "lab"})
        yield Fleet(machines, made["branch"], made["reuse_token"])
    finally:
        machines.close()
        shutil.rmtree(folder, ignore_errors=True)


def step(run: dict[str, Any], name: str) -> dict[str, Any]:
    """A step by its name."""
    return next(step for step in run["steps"] if step["name"] == name)
