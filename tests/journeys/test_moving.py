"""An installation moves to an external PostgreSQL and somebody else's S3; the old one stays as it was."""

import os
import re
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from builderos.integrations.embedded_postgres import service as embedded_postgres
from tests.support.buckets import Service
from tests.support.databases import SECRET, Databases
from tests.support.server import Server, start
from tests.support.servers import until
from tests.support.world import make_repository

PIPELINE = """name: build
steps:
  - {id: make, run: "echo made > made.txt; echo said", outputs: [made.txt]}
  - {id: save, needs: [make], action: git.commit, inputs: {message: Build it}}
  - {id: ask, needs: [save], question: Shall we?}
  - {id: use, needs: [ask], run: "cat made.txt > used.txt"}
  - {id: keep, needs: [use], action: git.commit, inputs: {message: Use it}}
"""


@pytest.fixture
def external(databases: Databases) -> Iterator[str]:
    """A second PostgreSQL with an empty database: somebody else's, as far as the installation knows."""
    name = f"x_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(databases.superuser(), autocommit=True) as connection:
        connection.execute(f"create database {name}")  # type: ignore[arg-type]
    yield databases.superuser(name)
    with psycopg.connect(databases.superuser(), autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")  # type: ignore[arg-type]


def moved(home: Path, database: str, store: str, **env: str) -> subprocess.CompletedProcess[str]:
    words = ["admin", "move", "--database", database, "--artifacts", store]
    return subprocess.run(
        [sys.executable, "-m", "builderos.interfaces.cli.main", *words], capture_output=True, text=True, check=False,
        env={**os.environ, "BUILDEROS_HOME": str(home), "BUILDEROS_SECRET_KEY": SECRET.decode(), **env}, timeout=200,
    )  # fmt: skip


def story(server: Server, source: Path) -> tuple[str, str, str]:
    """A sandbox with commits and a run that waits for an answer: branch, token, run."""
    server.owner().call("POST", "/v1/repos/import", {"source": str(source), "name": "lab"})
    made = server.client().call("POST", "/sandbox/init", {"repo_name": "lab"})
    client = server.client(made["reuse_token"])
    body = {"file_path": "ship/build/pipeline.yaml", "content": PIPELINE, "message": "Add a pipeline"}
    client.call("POST", "/commit_and_log_output", body)
    run = client.call("POST", "/v1/runs", {"pipeline": "build", "repo_name": "lab", "branch": made["branch"]})
    until(lambda: client.call("GET", f"/v1/runs/{run['run_id']}")["status"] == "waiting_input")
    return made["branch"], made["reuse_token"], run["run_id"]


def content(server: Server, token: str, id_: str) -> bytes:
    request = urllib.request.Request(f"{server.url}/v1/artifacts/{id_}/content")
    request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=30) as reply:
        return reply.read()


def text(client: Any, path: str) -> str:
    return client.call("POST", "/system/fetch_files", {"path": path})["files"][0]["content"]


def test_all_that_there_was_goes_on_at_the_new_place_and_the_old_one_is_whole(
    home: Path, external: str, buckets: Service, tmp_path: Path
) -> None:
    store = buckets.make("moved")
    home.mkdir()  # with a database of its own: that of other tests has another key
    server = start(home, BUILDEROS_SECRET_KEY=SECRET.decode())
    _, token, run_id = story(server, make_repository(tmp_path / "lab"))
    refused = moved(home, external, store)
    assert refused.returncode == 1
    assert "runs" in refused.stderr
    lines = server.owner().call("GET", "/v1/audit/verify")["lines"]
    server.stop()

    done = moved(home, external, store)
    assert done.returncode == 0, done.stdout + done.stderr
    counted = re.search(r"(\d+) lines of the ledger", done.stdout)
    assert counted is not None
    assert int(counted[1]) >= lines  # the server writes some more when it stops
    assert re.search(r"[1-9]\d* artifacts\.", done.stdout)
    assert buckets.keys("moved")
    assert embedded_postgres.status(home).state == "stopped"

    there = {
        "BUILDEROS_DATABASE_URL": external, "BUILDEROS_ARTIFACT_URL": store,
        "BUILDEROS_SECRET_KEY": SECRET.decode(),
    }  # fmt: skip
    elsewhere = home.parent / f"{home.name}n"  # another machine, whose disk knows nothing
    elsewhere.mkdir()
    new = start(elsewhere, **there)  # pyright: ignore[reportArgumentType]
    try:
        client = new.client(token)
        assert text(client, "made.txt") == "made\n"
        steps = {step["name"]: step for step in client.call("GET", f"/v1/runs/{run_id}")["steps"]}
        assert client.call("GET", f"/v1/steps/{steps['make']['id']}/logs")["text"] == "said\n"
        (kept,) = client.call("GET", f"/v1/artifacts?run_id={run_id}&path=made.txt")["items"]
        assert content(new, token, kept["id"]) == b"made\n"
        client.call("POST", f"/v1/runs/{run_id}/answer", {"answer": "yes"})
        until(lambda: client.call("GET", f"/v1/runs/{run_id}")["ended_at"] is not None)
        assert text(client, "used.txt") == "made\n"
        assert new.owner().call("GET", "/v1/audit/verify")["ok"]
    finally:
        new.stop()

    again = moved(home, external, store)
    assert again.returncode == 1
    assert "not empty" in again.stderr
    old = start(home, BUILDEROS_SECRET_KEY=SECRET.decode())
    try:
        assert text(old.client(token), "made.txt") == "made\n"
        assert old.client(token).call("GET", f"/v1/runs/{run_id}")["status"] == "waiting_input"
        assert old.owner().call("GET", "/v1/audit/verify")["ok"]
    finally:
        old.stop()
