"""A server that is killed again and again under eight writers loses nothing that it acknowledged."""

import os
import random
import threading
import time
from pathlib import Path

import pytest

from builderos.client.errors import ClientError
from tests.support.server import Server, start
from tests.support.world import git, make_repository

pytestmark = pytest.mark.soak
ROUNDS = 150 if os.environ.get("BUILDEROS_SOAK") else 8
WRITERS = 8
SHARED = 3  # this many of the writers write one branch
LIMITS = {"BUILDEROS_MAX_COMMITS_PER_SANDBOX": "1000000", "BUILDEROS_MAX_FILES_PER_SANDBOX": "1000000"}


class Writer:
    """Commits unique files until its server dies; keeps what was acknowledged."""

    def __init__(self, number: int, branch: str, token: str) -> None:
        self.number = number
        self.branch = branch
        self.token = token
        self.acknowledged: list[str] = []
        self.written = 0

    def run(self, server: Server) -> None:
        """Write until a call fails; a failed call was not acknowledged."""
        client = server.client(self.token)
        while True:
            path = f"w{self.number}/{self.written % 50}.txt"
            self.written += 1
            body = {
                "file_path": path,
                "content": f"{self.written}\n",
                "message": f"{self.number}.{self.written}",
            }
            try:
                self.acknowledged.append(client.call("POST", "/commit_and_log_output", body)["commit_sha"])
            except ClientError as error:
                if error.code == "busy":
                    continue
                return


@pytest.fixture
def home(run_folder: Path) -> Path:
    return run_folder / f"kills{os.getpid()}" / "home"


def _open(server: Server, source: Path) -> list[Writer]:
    server.owner().call("POST", "/v1/repos/import", {"source": str(source), "name": "lab"})
    opened = [
        server.client().call("POST", "/sandbox/init", {"repo_name": "lab"})
        for _ in range(WRITERS - SHARED + 1)
    ]
    homes = [*opened, *[opened[-1]] * (SHARED - 1)]
    return [Writer(n, made["branch"], made["reuse_token"]) for n, made in enumerate(homes)]


def _burst(server: Server, writers: list[Writer], seconds: float) -> None:
    threads = [threading.Thread(target=writer.run, args=(server,)) for writer in writers]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    server.kill()
    for thread in threads:
        thread.join()


def _stores(home: Path) -> dict[str, Path]:
    """Stores by the branch their HEAD names."""
    found = (home / "repos").glob("*/*/branches/*/*.git")
    return {(store / "HEAD").read_text().strip().removeprefix("ref: refs/heads/"): store for store in found}


def _check(server: Server, writers: list[Writer]) -> None:
    for branch in {w.branch for w in writers}:
        token = next(w.token for w in writers if w.branch == branch)
        tip = server.client(token).call("POST", "/git/log", {"limit": 1})["items"][0]["sha"]
        store = _stores(server.home)[branch]  # made by the call, where nobody had written yet
        known = set(git("rev-list", tip, cwd=store).splitlines())
        lost = [sha for w in writers if w.branch == branch for sha in w.acknowledged if sha not in known]
        assert not lost, f"{len(lost)} acknowledged commits of {branch} are lost"


def test_no_acknowledged_commit_is_lost_over_many_kills(home: Path, tmp_path: Path) -> None:
    chance = random.Random(20261121)
    server = start(home, **LIMITS)
    try:
        writers = _open(server, make_repository(tmp_path / "source"))
        slowest = 0.0
        for _ in range(ROUNDS):
            _burst(server, writers, chance.uniform(0.1, 0.5))
            began = time.monotonic()
            server = start(home, **LIMITS)
            slowest = max(slowest, time.monotonic() - began)
            _check(server, writers)
        _at_rest(server, writers)
        total = sum(len(w.acknowledged) for w in writers)
        print(f"{ROUNDS} kills, {total} commits acknowledged, none lost; slowest restart {slowest:.1f} s")
    finally:
        server.stop()


def _at_rest(server: Server, writers: list[Writer]) -> None:
    """After the last round: every writer can write, stores and ledger are whole, no lock is left."""
    for writer in writers:
        body = {"file_path": "last.txt", "content": f"{writer.number}\n", "message": "The last word"}
        server.client(writer.token).call("POST", "/commit_and_log_output", body)
    for store in (server.home / "repos").rglob("*.git"):
        git("fsck", "--strict", "--no-dangling", cwd=store)
    verdict = server.owner().call("GET", "/v1/audit/verify")
    assert verdict["ok"], verdict
    assert verdict["lines"] >= sum(len(w.acknowledged) for w in writers)
