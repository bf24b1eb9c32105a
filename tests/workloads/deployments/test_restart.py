"""A server process that is killed: what was live is live again, what was under way ends, nothing is left over."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builderos.client.http import Client
from tests.support import server
from tests.support.deployers import SERVER, get
from tests.support.deploying import COMMAND
from tests.support.sandboxes import until
from tests.support.server import Server
from tests.support.world import make_repository

from .processes import with_word

MARK = "98763"
SLOW = COMMAND.replace("exec python3", f"sleep {MARK} & exec python3")


@pytest.fixture
def running(run_folder: Path) -> Iterator[Server]:
    started = server.start(run_folder / f"d{uuid.uuid4().hex[:8]}" / "home")
    yield started
    started.stop()


class Lab:
    """A branch on a server process."""

    def __init__(self, running: Server, folder: Path) -> None:
        self.server = running
        owner = running.owner()
        owner.call(
            "POST", "/v1/repos/import", {"source": str(make_repository(folder / "lab")), "name": "lab"}
        )
        opened = owner.call("POST", "/sandbox/init", {"mode": "branch", "repo_name": "lab"})
        self.where = {"repo_name": "lab", "branch": opened["branch"]}
        self.token = str(opened["reuse_token"])

    @property
    def client(self) -> Client:
        """As the sandbox."""
        return self.server.client(self.token)

    def commit(self, word: str, manifest: str = SLOW) -> None:
        """Something to deploy."""
        files = {"server.py": SERVER, "word.txt": word, "deploy.yaml": manifest}
        listed = [{"path": path, "content": text} for path, text in files.items()]
        self.client.call("POST", "/commit_and_log_output", {**self.where, "files": listed, "message": "x"})

    def deploy(self) -> str:
        """Begin; the run."""
        return str(self.client.call("POST", "/v1/deployments", {**self.where})["run_id"])

    def over(self, run_id: str) -> dict[str, Any]:
        """The run once it is over."""
        path = f"/v1/runs/{run_id}"
        until(lambda: bool(self.client.call("GET", path)["ended_at"]))
        return self.client.call("GET", path)

    def live(self) -> dict[str, Any]:
        """What is live."""
        return self.client.call("GET", "/v1/deployments", {"status": "live"})["items"][0]


def says(url: str, word: str) -> bool:
    try:
        return get(url).text.startswith(word)
    except OSError:
        return False


def test_a_killed_server_serves_again_what_was_live_and_goes_on_with_what_was_under_way(
    running: Server, tmp_path: Path
) -> None:
    lab = Lab(running, tmp_path)
    lab.commit("lasting")
    assert lab.over(lab.deploy())["status"] == "succeeded"
    live = lab.live()
    assert says(live["url"], "lasting")
    assert with_word(MARK)
    lab.commit("second", SLOW + "build: sleep 1.5; echo built\n")
    under_way = lab.deploy()
    until(lambda: bool(lab.client.call("GET", "/v1/deployments", {"status": "building"})["items"]))
    running.kill()
    until(lambda: not with_word(MARK))
    again = server.start(running.home)
    running.process = again.process
    lab.server = again
    until(lambda: says(live["url"], "lasting") or says(live["url"], "second"))
    run = lab.over(under_way)
    assert run["status"] == "succeeded", run
    now = lab.live()
    assert now["url"] == live["url"]
    assert now["replaces"] == live["id"]
    until(lambda: says(live["url"], "second"))
    again.stop()
    assert not with_word(MARK)
