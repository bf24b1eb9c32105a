"""What happens to a machine: its clock jumps, its disk fills up, its database stops or dies. A real server says so in
plain codes, loses nothing that it acknowledged, and goes on by itself when the trouble is over.
"""

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from builderos.integrations.embedded_postgres import service as postgres
from tests.support.server import ROOT, Server, start
from tests.support.servers import pid_of, until
from tests.support.world import git, make_repository

COMMIT = "/commit_and_log_output"
HOUR = 3600


def call(
    server: Server, token: str | None, method: str, path: str, body: Any = None
) -> tuple[int, dict[str, Any]]:
    """Status and body, whatever they are; nothing is repeated."""
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(str(parts.hostname), int(parts.port or 0), timeout=60)
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        reply = connection.getresponse()
        text = reply.read()
        return reply.status, json.loads(text)
    finally:
        connection.close()


@dataclass
class Writer(threading.Thread):
    """Commits without a pause; what was acknowledged, in its order, and the codes of what was not."""

    server: Server
    branch: str
    token: str
    acknowledged: list[str] = field(default_factory=list)
    codes: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()
        self.stopping = threading.Event()
        self.number = 0

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        while not self.stopping.is_set():
            self.number += 1
            body = {"repo_name": "lab", "branch": self.branch, "file_path": f"f{self.number % 7}.txt",
                    "content": f"{self.number}\n", "message": f"commit {self.number}",
                    "idempotency_key": uuid.uuid4().hex}  # fmt: skip
            while not self.stopping.is_set():
                try:
                    status, reply = call(self.server, self.token, "POST", COMMIT, body)
                except OSError:
                    self.codes.add("no answer")
                    continue
                if status == 200:
                    self.acknowledged.append(reply["commit_sha"])
                    break
                self.codes.add(reply["code"])
                threading.Event().wait(0.05)

    def goes_on(self, count: int = 2, wait_s: float = 120) -> None:
        """Wait until it has got some more through."""
        before = len(self.acknowledged)
        until(lambda: len(self.acknowledged) >= before + count, wait_s)


@contextmanager
def writing(server: Server) -> Iterator[Writer]:
    """Somebody who commits meanwhile; in the end all that was acknowledged is there, in its order, and nothing else."""
    opened = server.client().call("POST", "/sandbox/init", {"repo_name": "lab"})
    writer = Writer(server, opened["branch"], opened["reuse_token"])
    writer.start()
    try:
        writer.goes_on()
        yield writer
        writer.goes_on()
    finally:
        writer.stopping.set()
        writer.join(120)
    store = store_of(server, writer)
    subjects = git("log", "--reverse", "--format=%H", f"main..{writer.branch}", cwd=store).splitlines()
    assert subjects[: len(writer.acknowledged)] == writer.acknowledged
    assert len(subjects) - len(writer.acknowledged) <= 1  # the last one, whose answer nobody waited for
    git("fsck", "--strict", "--full", cwd=store)
    assert server.owner().call("GET", "/v1/audit/verify")["ok"]


def store_of(server: Server, writer: Writer) -> Path:
    stores = (server.home / "repos").glob("*/*/branches/*/*.git")
    return next(s for s in stores if (s / "refs" / "heads" / writer.branch).exists())


def prepared(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    server = start(home, BUILDEROS_ENGINE="false")
    source = make_repository(tmp_path_factory.mktemp("faults") / "lab")
    server.owner().call("POST", "/v1/repos/import", {"source": str(source), "name": "lab"})
    server.stop()


@pytest.fixture(scope="module")
def home(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder with a repository; the server of one test after the other runs on it."""
    path = run_folder / f"m{uuid.uuid4().hex[:8]}" / "home"
    prepared(path, tmp_path_factory)
    yield path
    postgres.stop(path)


@contextmanager
def running(home: Path, **settings: str) -> Iterator[Server]:
    server = start(home, **{"BUILDEROS_ENGINE": "false", **settings})
    try:
        yield server
    finally:
        server.stop()


# ---------------------------------------------------------------- the clock


@contextmanager
def shifted(home: Path, tmp_path: Path) -> Iterator[tuple[Server, Path]]:
    """A server, and the file that turns its clock."""
    clock = tmp_path / "clock"
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    with running(home, program="tests.support.shifted", SHIFTED_CLOCK=str(clock), PYTHONPATH=path) as server:
        yield server, clock


def test_a_clock_that_jumps_under_load_loses_nothing(home: Path, tmp_path: Path) -> None:
    with shifted(home, tmp_path) as (server, clock), writing(server) as writer:
        for ahead in (HOUR, -HOUR, 30 * 24 * HOUR, 0):
            clock.write_text(str(ahead))
            writer.goes_on(3)
            opened = server.client().call("POST", "/sandbox/init", {"repo_name": "lab"})
            assert opened["token_status"] == "new"
        assert writer.codes <= {"busy"}


def test_what_ends_by_the_clock_ends_when_it_jumps_and_nothing_lives_longer_than_it_says(
    home: Path, tmp_path: Path
) -> None:
    with shifted(home, tmp_path) as (server, clock):
        opened = server.client().call("POST", "/sandbox/init", {"repo_name": "lab"})
        token, log = opened["reuse_token"], {"repo_name": "lab", "branch": opened["branch"]}
        assert call(server, token, "POST", "/git/log", log)[0] == 200
        clock.write_text(str(91 * 24 * HOUR))
        assert call(server, token, "POST", "/git/log", log)[1]["code"] == "token_expired"
        clock.write_text("0")  # it was the clock's fault: nobody has to mend anything
        assert call(server, token, "POST", "/git/log", log)[0] == 200
        clock.write_text(str(-HOUR))
        assert call(server, token, "POST", "/git/log", log)[0] == 200
        checks = server.owner().call("POST", "/v1/admin/doctor", {})["checks"]
        (said,) = (check for check in checks if check["name"] == "clock")
        assert not said["ok"]


# ---------------------------------------------------------------- the database


def processes_of(home: Path) -> list[int]:
    """The database's main process and all its children."""
    main = pid_of(home)
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(main)], capture_output=True, text=True, check=False
    )
    return [main, *map(int, listed.stdout.split())]


def test_a_database_that_stops_answering_is_given_up_and_taken_up_again(home: Path) -> None:
    with running(home, BUILDEROS_DATABASE_PATIENCE_S="2") as server, writing(server) as writer:
        stopped: list[int] = []
        try:
            for _ in range(2):  # a child that was born meanwhile
                for pid in set(processes_of(home)) - set(stopped):
                    os.kill(pid, signal.SIGSTOP)
                    stopped.append(pid)
            until(lambda: "unavailable" in writer.codes)
            status, problem = call(server, writer.token, "POST", "/git/log", {"repo_name": "lab"})
            assert (status, problem["code"]) == (503, "unavailable")
            assert call(server, None, "GET", "/readyz")[0] == 503
            assert call(server, None, "GET", "/healthz")[0] == 200
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        writer.goes_on(3)
        assert writer.codes <= {"unavailable", "busy"}
        until(lambda: call(server, None, "GET", "/readyz")[0] == 200)


def test_a_database_that_is_killed_comes_back_by_itself(home: Path) -> None:
    with running(home) as server, writing(server) as writer:
        old = pid_of(home)
        os.kill(old, signal.SIGKILL)
        until(lambda: postgres.status(home).pid not in (None, old))
        writer.goes_on(3)
        assert writer.codes <= {"unavailable", "busy"}


# ---------------------------------------------------------------- the disk


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder on a file system of its own, with the database in it."""
    folder = Path("/tmp") / f"bos-small-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=260m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        folder.rmdir()
        pytest.skip("this user may not mount a file system")
    try:
        prepared(folder / "home", tmp_path_factory)
        yield folder
        postgres.stop(folder / "home")
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


def test_a_disk_without_any_room_is_told_and_all_goes_on_when_there_is_some(small: Path) -> None:
    with running(small / "home", BUILDEROS_DISK_RESERVE="0") as server:
        opened = server.client().call("POST", "/sandbox/init", {"repo_name": "lab"})
        token, branch = opened["reuse_token"], opened["branch"]
        acknowledged: list[str] = []

        def commit(size: int) -> str:
            text = os.urandom(size // 2).hex()
            body = {"repo_name": "lab", "branch": branch, "file_path": f"n{len(acknowledged)}.txt", "content": text,
                    "message": "n", "idempotency_key": uuid.uuid4().hex}  # fmt: skip
            status, reply = call(server, token, "POST", COMMIT, body)
            if status == 200:
                acknowledged.append(reply["commit_sha"])
                return "ok"
            return reply["code"]

        assert commit(1000) == "ok"
        ballast = small / "ballast"
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(small).free - 1_500_000)
        told = [commit(400_000) for _ in range(12)]
        assert set(told) - {"ok"}
        assert set(told) <= {"ok", "storage_full", "unavailable", "busy"}, told
        assert call(server, None, "GET", "/healthz")[0] == 200
        ballast.unlink()
        until(lambda: commit(1000) == "ok")
        log = call(server, token, "POST", "/git/log", {"repo_name": "lab", "branch": branch, "limit": 100})[1]
        kept = [item["sha"] if "sha" in item else item["commit_sha"] for item in log["items"]]
        assert set(acknowledged) <= set(kept)
        assert server.owner().call("GET", "/v1/audit/verify")["ok"]
        checks = server.owner().call("POST", "/v1/admin/doctor", {"fix": True})["checks"]
        assert [c for c in checks if not c["ok"] and c["name"] != "disk space"] == []
