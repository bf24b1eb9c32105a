"""Real git clients work with a sandbox as with any other remote."""

import pytest

from tests.support.live import address, run
from tests.support.world import git

from .conftest import Live


@pytest.mark.parametrize("version", ["0", "1", "2"])
def test_clone_commit_push_and_pull_work_in_every_protocol_version(live: Live, version: str) -> None:
    mine = live.clone("mine", "-c", f"protocol.version={version}")
    assert mine.must("branch", "--show-current") == live.sandbox.branch
    sha = mine.commit({"notes.txt": "hello\n"}, "Add notes")
    pushed = mine.push()
    assert pushed.ok, pushed.err
    assert live.tip() == sha
    assert f"Saved 1 commit to branch {live.sandbox.branch} of lab" in pushed.err
    api = live.sandbox.commit({"api.txt": "from the API\n"})["commit_sha"]
    mine.must("pull", "-q")
    assert mine.head == api
    assert (mine.folder / "api.txt").read_text() == "from the API\n"
    assert (mine.folder / "notes.txt").read_text() == "hello\n"
