"""Eight processes write one branch while its store is packed under their feet."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server import ROOT, Server, environment, start
from tests.support.world import git, make_repository

pytestmark = pytest.mark.soak
WRITERS = 8
COMMITS = 200 if os.environ.get("BUILDEROS_SOAK") else 12
LIMITS = {"BUILDEROS_MAX_COMMITS_PER_SANDBOX": "100000", "BUILDEROS_MAX_FILES_PER_SANDBOX": "100000"}

WRITER = """
import json, sys
from builderos.client.errors import ClientError
from builderos.client.http import Client
url, token, number, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
client, done = Client(url, token), []
for n in range(count):
    body = {"file_path": f"w{number}/{n}.txt", "content": f"{number}.{n}\\n", "message": f"{number}.{n}"}
    while True:
        try:
            done.append(client.call("POST", "/commit_and_log_output", body)["commit_sha"])
            break
        except ClientError as error:
            if error.code != "busy":
                raise
print(json.dumps(done))
"""


@pytest.fixture
def server(run_folder: Path) -> Iterator[Server]:
    made = start(run_folder / f"branch{os.getpid()}" / "home", **LIMITS)
    try:
        yield made
    finally:
        made.stop()


def _pack_until(stop: threading.Event, store: Path, rounds: list[int]) -> None:
    while not stop.is_set():
        git("pack-refs", "--all", cwd=store, check=False)
        git("repack", "-d", "--geometric=2", "-q", cwd=store, check=False)
        git("prune-packed", "-q", cwd=store, check=False)
        rounds.append(1)


def test_no_update_is_lost_while_the_store_is_packed(server: Server, tmp_path: Path) -> None:
    source = make_repository(tmp_path / "source")
    server.owner().call("POST", "/v1/repos/import", {"source": str(source), "name": "lab"})
    made = server.client().call("POST", "/sandbox/init", {"repo_name": "lab"})
    wanted = {"repo_name": "lab", "branch": made["branch"], "path": "README.md"}
    server.client(made["reuse_token"]).call("POST", "/system/fetch_files", wanted)  # makes the store
    store = next((server.home / "repos").glob("*/*/branches/*/*.git"))
    stop, rounds = threading.Event(), list[int]()
    packer = threading.Thread(target=_pack_until, args=(stop, store, rounds))
    packer.start()
    try:
        argv = [sys.executable, "-c", WRITER, server.url, made["reuse_token"]]
        env = {
            **environment(server.home),
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), *filter(None, sys.path)]),
        }
        writers = [
            subprocess.Popen([*argv, str(n), str(COMMITS)], env=env, stdout=subprocess.PIPE)
            for n in range(WRITERS)
        ]
        acknowledged = [sha for writer in writers for sha in json.loads(writer.communicate()[0])]
    finally:
        stop.set()
        packer.join()
    assert all(writer.returncode == 0 for writer in writers)
    assert rounds, "the store was never packed meanwhile"
    tip = git("rev-parse", f"refs/heads/{made['branch']}", cwd=store)
    known = git("rev-list", tip, cwd=store).splitlines()
    assert set(acknowledged) <= set(known)
    assert len(acknowledged) == WRITERS * COMMITS
    files = git("ls-tree", "-r", "--name-only", tip, cwd=store).splitlines()
    assert {f"w{w}/{n}.txt" for w in range(WRITERS) for n in range(COMMITS)} <= set(files)
    git("fsck", "--strict", "--no-dangling", cwd=store)
