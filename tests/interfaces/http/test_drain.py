"""A server that is told to end lets what is under way end, takes nothing new, and is gone after a bounded time."""

import http.client
import json
import signal
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from builderos.integrations.embedded_postgres import service as postgres
from tests.support.live import run
from tests.support.server import Server, start
from tests.support.servers import until
from tests.support.world import git, make_repository

COMMIT = "/commit_and_log_output"
READY = "/readyz"


@dataclass
class Stage:
    """A server with one sandbox."""

    server: Server
    branch: str
    token: str

    @property
    def place(self) -> tuple[str, int]:
        parts = urlsplit(self.server.url)
        return str(parts.hostname), int(parts.port or 0)

    def body(self, name: str) -> dict[str, Any]:
        return {
            "repo_name": "lab",
            "branch": self.branch,
            "file_path": name,
            "content": f"{name}\n",
            "message": name,
        }

    @property
    def store(self) -> Path:
        (folder,) = self.rows("select store from ops.branches where name = %s")
        return self.server.home / "repos" / folder[0]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query about the branch gives to the superuser."""
        with psycopg.connect(postgres.start(self.server.home).superuser_conninfo) as connection:
            return connection.execute(query, (self.branch,)).fetchall()  # type: ignore[arg-type]

    def commit(self, name: str) -> dict[str, Any]:
        return self.server.client(self.token).call("POST", COMMIT, self.body(name))

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(*self.place, timeout=120)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Whoever wants to move the branch waits meanwhile."""
        connection = psycopg.connect(postgres.start(self.server.home).superuser_conninfo)
        connection.execute("select 1 from ops.branches where name = %s for update", (self.branch,))
        try:
            yield
        finally:
            connection.close()  # the database may have ended before it

    def told_to_end(self) -> None:
        self.server.process.send_signal(signal.SIGTERM)
        until(lambda: self.asked(READY)[0] == 503)

    def asked(self, path: str) -> tuple[int, dict[str, str], bytes]:
        connection = self.connect()
        try:
            connection.request("GET", path)
            reply = connection.getresponse()
            return reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def home(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder with a repository; the server of one test after the other runs on it."""
    path = run_folder / f"d{uuid.uuid4().hex[:8]}" / "home"
    server = start(path, BUILDEROS_ENGINE="false")
    source = make_repository(tmp_path_factory.mktemp("drain") / "lab")
    server.owner().call("POST", "/v1/repos/import", {"source": str(source), "name": "lab"})
    server.stop()
    yield path
    postgres.stop(path)


@contextmanager
def running(home: Path, **settings: str) -> Iterator[Stage]:
    server = start(home, **{"BUILDEROS_ENGINE": "false", **settings})
    try:
        opened = server.client().call("POST", "/sandbox/init", {"repo_name": "lab"})
        yield Stage(server, opened["branch"], opened["reuse_token"])
    finally:
        server.stop()


class Behind(threading.Thread):
    """Does something in a thread and keeps what came of it."""

    def __init__(self, what: Any) -> None:
        super().__init__()
        self._what = what
        self.result: Any = None
        self.start()

    def run(self) -> None:
        try:
            self.result = self._what()
        except Exception as error:
            self.result = error

    def end(self) -> Any:
        self.join(120)
        assert not self.is_alive()
        return self.result


def waiting(stage: Stage) -> int:
    """How many of the server's transactions wait for a lock."""
    with psycopg.connect(postgres.start(stage.server.home).superuser_conninfo) as connection:
        row = connection.execute(
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and application_name = 'builderos'"
        ).fetchone()
    assert row is not None
    return row[0]


def test_what_is_under_way_ends_and_what_comes_is_told_to_come_back(home: Path, tmp_path: Path) -> None:
    with running(home) as stage:
        idle = stage.connect()  # a connection that was used before, and is kept open
        idle.request("GET", READY)
        assert idle.getresponse().read()
        with stage.held():
            commit = Behind(lambda: stage.commit("a.txt"))
            until(lambda: waiting(stage) == 1)
            stage.told_to_end()
            status, headers, text = stage.asked(READY)
            assert status == 503
            assert headers["retry-after"] == "2"
            assert headers["connection"] == "close"
            assert json.loads(text)["code"] == "unavailable"
            assert stage.asked("/healthz")[0] == 200
            idle.request(
                "POST", COMMIT, json.dumps(stage.body("b.txt")), {"content-type": "application/json"}
            )
            refused = idle.getresponse()
            assert refused.status == 503
            assert refused.getheader("connection") == "close"
            assert json.loads(refused.read())["retryable"] is True
            assert stage.server.process.poll() is None
        sha = commit.end()["commit_sha"]
        assert stage.server.process.wait(120) == 0
        assert postgres.status(stage.server.home).state == "stopped"
        assert git("rev-parse", stage.branch, cwd=stage.store) == sha
        assert not (stage.server.home / "server.json").exists()


def test_a_push_that_is_under_way_ends(home: Path, tmp_path: Path) -> None:
    with running(home) as stage:
        host, port = stage.place
        url = f"http://x:{stage.token}@{host}:{port}/git/lab.git"
        work = tmp_path / "work"
        assert run("clone", "-q", "-b", stage.branch, url, str(work)).ok
        (work / "pushed.txt").write_text("1\n")
        assert run("add", "-A", cwd=work).ok
        assert run(
            "-c", "user.name=x", "-c", "user.email=x@x.invalid", "commit", "-qm", "pushed", cwd=work
        ).ok
        with stage.held():
            push = Behind(lambda: run("push", "-q", "origin", f"HEAD:{stage.branch}", cwd=work))
            until(lambda: waiting(stage) == 1)
            stage.told_to_end()
            late = run("ls-remote", url)
            assert not late.ok
            assert "503" in late.err
        assert push.end().ok, push.result
        assert stage.server.process.wait(120) == 0


def test_who_never_ends_is_cut_off_and_nothing_of_it_is_left(home: Path, tmp_path: Path) -> None:
    with running(home, BUILDEROS_DRAIN_S="0.5") as stage:
        slow = socket.create_connection(stage.place)
        head = (
            f"POST /git/lab.git/git-receive-pack HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {stage.token}\r\n"
            "Content-Type: application/x-git-receive-pack-request\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        slow.sendall(head.encode() + b"4\r\n00a0\r\n")  # and never the rest
        until(lambda: b"builderos_http_requests_in_progress 2.0" in stage.asked("/metrics")[2])
        stage.server.process.send_signal(signal.SIGTERM)
        assert stage.server.process.wait(120) in (0, 1)
        assert "cut off" in stage.server.log.read_text()
        again = start(stage.server.home)
        try:
            log = again.client(stage.token).call(
                "POST", "/git/log", {"repo_name": "lab", "branch": stage.branch}
            )
            assert len(log["items"]) == 1
            assert again.owner().call("POST", "/v1/admin/doctor", {})["ok"]
        finally:
            again.stop()
            slow.close()


def test_a_thread_that_cannot_be_interrupted_does_not_hold_the_server_up(home: Path, tmp_path: Path) -> None:
    with running(home, BUILDEROS_DRAIN_S="0.2") as stage:
        with stage.held():  # for up to 5 s the commit's thread waits in the database for its lock
            commit = Behind(lambda: stage.commit("a.txt"))
            until(lambda: waiting(stage) == 1)
            stage.server.process.send_signal(signal.SIGTERM)
            assert stage.server.process.wait(120) in (0, 1)
        assert isinstance(commit.end(), Exception)
        again = start(stage.server.home)
        try:
            sandbox = again.client(stage.token)
            assert (
                len(sandbox.call("POST", "/git/log", {"repo_name": "lab", "branch": stage.branch})["items"])
                == 1
            )
            assert sandbox.call("POST", COMMIT, stage.body("a.txt"))["commit_sha"]
        finally:
            again.stop()


def test_messages_of_the_outbox_outlive_the_server_that_took_them(home: Path, tmp_path: Path) -> None:
    """Nobody answers at the mail server: the message waits in its row for the next process."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    smtp = f"smtp://127.0.0.1:{port}"
    with running(home, BUILDEROS_SMTP_URL=smtp, BUILDEROS_ENGINE="true") as stage:
        conninfo = postgres.start(stage.server.home).superuser_conninfo
        with psycopg.connect(conninfo) as connection:
            connection.execute(
                "insert into ops.outbox (org_id, kind, key, payload, created_at, next_at)"
                " select id, 'sign_in.mail', 'k', '{}', now(), now() from ops.orgs where slug = 'local'"
            )
        until(lambda: stage.server.client().call("GET", READY)["engine"] == "running")
        assert stage.server.stop() == 0
        with psycopg.connect(postgres.start(stage.server.home).superuser_conninfo) as connection:
            rows = connection.execute("select done_at from ops.outbox where key = 'k'").fetchall()
        assert rows == [(None,)]
