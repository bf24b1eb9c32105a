"""A real server process: what it counted is written down when it ends, and events leave it within seconds."""

import json
from pathlib import Path

import pytest

from builderos.client.http import Client
from tests.support import server
from tests.support.receivers import NETWORKS, receiver
from tests.support.servers import until
from tests.support.world import make_repository


@pytest.fixture
def opened(home: Path, tmp_path: Path) -> Path:
    """A home whose server was never started, and a repository to import."""
    make_repository(tmp_path / "source")
    return home


def test_a_server_forgets_no_call_when_it_is_stopped_and_tells_webhooks_at_once(
    opened: Path, tmp_path: Path
) -> None:
    with receiver() as there:
        first = server.start(opened, BUILDEROS_WEBHOOK_NETWORKS=NETWORKS)
        try:
            owner: Client = first.owner()
            owner.call("POST", "/v1/repos/import", {"source": str(tmp_path / "source"), "name": "lab"})
            owner.call("POST", "/v1/webhooks", {"url": there.url, "events": ["sandbox.created"]})
            first.client().call("POST", "/sandbox/init", {"repo_name": "lab"})
            until(lambda: bool(there.got))
            for _ in range(7):
                owner.call("GET", "/v1/repos")
        finally:
            assert first.stop() == 0
    assert json.loads(there.got[0][1])["type"] == "sandbox.created"
    again = server.start(opened)
    try:
        rows = again.owner().call("GET", "/v1/usage", {"by": "actor"})["items"]
    finally:
        again.stop()
    assert max(row["requests"] for row in rows) >= 9
    assert sum(row["sandboxes"] for row in rows) == 1
