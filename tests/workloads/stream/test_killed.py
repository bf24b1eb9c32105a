"""The server is killed while somebody follows: who comes back has missed nothing, and gets nothing twice."""

import contextlib
import threading
import uuid
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

from tests.support.server import Server, start
from tests.support.servers import until
from tests.support.sse import listening

ROUND = 4


@dataclass
class Follower:
    """A client that comes back with the last place that it knows, to wherever the server is."""

    server: Server
    last: str | None = None
    commits: list[str] = field(default_factory=list[str])
    greetings: int = 0
    done: bool = False

    def follow(self) -> None:
        """Until it is done; whatever breaks, it tries again."""
        while not self.done:
            with contextlib.suppress(OSError, HTTPException, AssertionError):
                self._hear()

    def _hear(self) -> None:
        server = self.server
        with listening(server.url, "/v1/stream", server.owner_token, self.last, topics="commits") as ear:
            for said in ear:
                self.last = said.id
                self.greetings += said.type == "ready"
                self.commits += [item["object"] for item in said.data.get("items", ())]
                if self.done:
                    return


def test_a_kill_of_the_server_loses_and_doubles_nothing(run_folder: Path) -> None:
    home = run_folder / f"k{uuid.uuid4().hex[:8]}" / "home"
    server = start(home)
    try:
        server.owner().call("POST", "/v1/repos", {"name": "lab"})
        box = server.client().call("POST", "/sandbox/init", {"mode": "branch", "repo_name": "lab"})
        follower = Follower(server)
        threading.Thread(target=follower.follow, daemon=True).start()
        until(lambda: follower.greetings == 1)
        made: list[str] = []
        for round_ in range(2):
            for number in range(ROUND):
                said = server.client(box["reuse_token"]).call("POST", "/commit_and_log_output", {
                    "repo_name": "lab", "branch": box["branch"], "message": "Change",
                    "files": [{"path": "a.txt", "content": f"{round_}.{number}\n"}],
                })  # fmt: skip
                made.append(said["commit_sha"])
            if round_ == 0:  # some of them are told by now, others are not
                server.kill()
                server = follower.server = start(home)
        until(lambda: set(made) <= set(follower.commits))
        follower.done = True
        assert [sha for sha in follower.commits if sha in made] == made
        assert len(follower.commits) == len(set(follower.commits))
    finally:
        server.stop()
