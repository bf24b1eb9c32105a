"""What a server process does behind its requests: its engine starts after the first answer, stays small and drains; the
embedded database is brought back when something killed it.
"""

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from builderos.client.errors import ClientError
from builderos.integrations.embedded_postgres import service as postgres
from tests.support.server import Server, start
from tests.support.servers import pid_of, until
from tests.support.world import git, make_repository

MAX_RESIDENT_KB = 200 * 1024


@pytest.fixture
def server(run_folder: Path) -> Iterator[Server]:
    made = start(run_folder / f"e{uuid.uuid4().hex[:8]}" / "home")
    yield made
    made.stop()
    postgres.stop(made.home)


def engine_of(server: Server) -> str:
    """What `/readyz` says of the engine; nothing while the database does not answer."""
    try:
        return server.client().call("GET", "/readyz")["engine"]
    except ClientError:
        return ""


def resident_kb(server: Server) -> int:
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS:")))


def answers(server: Server) -> bool:
    try:
        return server.client().call("GET", "/readyz")["status"] == "ready"
    except ClientError:
        return False


def test_the_first_answer_does_not_wait_for_the_engine(server: Server) -> None:
    until(lambda: engine_of(server) == "running")  # its tables are there
    server.stop()
    with psycopg.connect(postgres.start(server.home).superuser_conninfo) as held:
        held.execute("lock table dbos.workflow_status in access exclusive mode")  # the engine cannot begin
        again = start(server.home)
        try:
            assert engine_of(again) in ("starting", "failed")
            held.rollback()
            until(lambda: engine_of(again) == "running")
        finally:
            held.rollback()
            again.stop()


def test_an_idle_server_is_small(run_folder: Path) -> None:
    server = start(run_folder / f"e{uuid.uuid4().hex[:8]}" / "home", forked=False)
    try:
        until(lambda: engine_of(server) == "running")
        assert resident_kb(server) < MAX_RESIDENT_KB
    finally:
        server.stop()


def test_a_server_drains_its_engine_and_ends_its_database(server: Server) -> None:
    until(lambda: engine_of(server) == "running")
    assert server.stop() == 0
    assert not (server.home / "server.json").exists()
    assert postgres.status(server.home).state == "stopped"
    assert "Traceback" not in server.log.read_text()


def test_a_server_without_an_engine_says_so(run_folder: Path) -> None:
    server = start(run_folder / f"e{uuid.uuid4().hex[:8]}" / "home", BUILDEROS_ENGINE="false")
    try:
        assert engine_of(server) == "off"
    finally:
        server.stop()
        postgres.stop(server.home)


def test_a_killed_database_comes_back_and_nothing_acknowledged_is_lost(
    server: Server, tmp_path: Path
) -> None:
    owner = server.owner()
    owner.call("POST", "/v1/repos/import", {"source": str(make_repository(tmp_path / "lab")), "name": "lab"})
    opened = server.client().call("POST", "/sandbox/init", {"repo_name": "lab"})
    sandbox = server.client(opened["reuse_token"])
    until(lambda: engine_of(server) == "running")
    for number in range(3):
        body = {"repo_name": "lab", "branch": opened["branch"], "file_path": f"f{number}.txt", "content": f"{number}\n",
                "message": f"commit {number}"}  # fmt: skip
        sha = sandbox.call("POST", "/commit_and_log_output", body)["commit_sha"]
        killed = pid_of(server.home)
        os.kill(killed, signal.SIGKILL)
        until(lambda old=killed: postgres.status(server.home).pid not in (None, old) and answers(server))
        store = next((server.home / "repos").glob("*/*/branches/*/*.git"))
        assert git("rev-parse", opened["branch"], cwd=store) == sha
    until(lambda: engine_of(server) == "running")
    checks = server.owner().call("POST", "/v1/admin/doctor", {"fix": True})["checks"]
    assert [check for check in checks if not check["ok"]] == []


def test_a_killed_server_settles_behind_its_next_start(server: Server, tmp_path: Path) -> None:
    owner = server.owner()
    owner.call("POST", "/v1/repos/import", {"source": str(make_repository(tmp_path / "lab")), "name": "lab"})
    opened = server.client().call("POST", "/sandbox/init", {"repo_name": "lab"})
    body = {
        "repo_name": "lab",
        "branch": opened["branch"],
        "file_path": "a.txt",
        "content": "1\n",
        "message": "x",
    }
    sha = server.client(opened["reuse_token"]).call("POST", "/commit_and_log_output", body)["commit_sha"]
    server.kill()
    store = next((server.home / "repos").glob("*/*/branches/*/*.git"))
    (store / "objects" / sha[:2] / sha[2:]).unlink()  # as if it had been killed right after the commit point
    git("update-ref", "-d", f"refs/heads/{opened['branch']}", cwd=store)
    again = start(server.home)
    try:
        until(lambda: git("rev-parse", "-q", "--verify", opened["branch"], cwd=store, check=False) == sha)
        git("fsck", "--strict", "--full", cwd=store)
    finally:
        again.stop()
