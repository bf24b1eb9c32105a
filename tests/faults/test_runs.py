"""What happens to a machine while runs go on: its database is killed, its clock is set back. They come to their end."""

import os
import signal
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from builderos.client.errors import ClientError
from builderos.integrations.embedded_postgres import service as postgres
from tests.support.server import ROOT, Server, start
from tests.support.servers import pid_of, until
from tests.support.world import make_repository

PIPELINE = """name: all
steps:
  - {id: plan, run: "echo planned > plan.txt"}
  - {id: a, needs: [plan], lane: a, run: "sleep 0.8; echo a > a.txt"}
  - {id: b, needs: [plan], lane: b, run: "sleep 0.4; echo b > b.txt"}
  - {id: c, needs: [b], lane: b, run: "sleep 0.4; echo c > c.txt"}
  - {id: save, needs: [a, c], action: git.commit, inputs: {message: Build it}}
"""


@pytest.fixture(scope="module")
def home(run_folder: Path) -> Iterator[Path]:
    path = run_folder / f"r{uuid.uuid4().hex[:8]}" / "home"
    yield path
    postgres.stop(path)


class Work:
    """A branch with a pipeline, and runs of it."""

    def __init__(self, server: Server, source: Path) -> None:
        owner = server.owner()
        if not owner.call("GET", "/v1/repos")["items"]:
            owner.call("POST", "/v1/repos/import", {"source": str(source), "name": "lab"})
        made = server.client().call("POST", "/sandbox/init", {"repo_name": "lab"})
        self.server, self.branch = server, made["branch"]
        self.client = server.client(made["reuse_token"])
        body = {"file_path": "ship/all/pipeline.yaml", "content": PIPELINE, "message": "Add a pipeline"}
        self.client.call("POST", "/commit_and_log_output", body)

    def start(self) -> str:
        """Start a run; its id."""
        body = {"pipeline": "all", "repo_name": "lab", "branch": self.branch}
        return str(self.client.call("POST", "/v1/runs", body)["run_id"])

    def run(self, id_: str) -> dict[str, Any] | None:
        """The run, where the server can say."""
        try:
            return self.client.call("GET", f"/v1/runs/{id_}")
        except ClientError as error:
            if error.code not in ("unavailable", "busy"):
                raise
            return None

    def reaches(self, id_: str, name: str, status: str) -> None:
        """Return once a step has a status."""

        def reached() -> bool:
            run = self.run(id_) or {"steps": []}
            return any(step["name"] == name and step["status"] == status for step in run["steps"])

        until(reached)

    def ends_well(self, id_: str) -> None:
        """It succeeds, and its steps were recorded once."""
        until(lambda: (self.run(id_) or {"ended_at": None})["ended_at"] is not None)
        run = self.run(id_)
        assert run is not None
        assert run["status"] == "succeeded", [(s["name"], s["status"], s["error"]) for s in run["steps"]]
        assert {step["status"] for step in run["steps"]} <= {"succeeded", "cached"}
        assert self.server.owner().call("GET", "/v1/audit/verify")["ok"]


@contextmanager
def working(home: Path, folder: Path, **settings: str) -> Iterator[Work]:
    server = start(home, **settings)  # pyright: ignore[reportArgumentType]
    try:
        yield Work(server, make_repository(folder / "lab"))
    finally:
        server.stop()


def test_runs_go_on_when_their_database_was_killed(home: Path, tmp_path: Path) -> None:
    with working(home, tmp_path) as work:
        id_ = work.start()
        work.reaches(id_, "a", "running")
        old = pid_of(home)
        os.kill(old, signal.SIGKILL)
        until(lambda: postgres.status(home).pid not in (None, old))
        work.ends_well(id_)


def test_what_was_shown_stays_when_the_database_is_killed(home: Path, tmp_path: Path) -> None:
    with working(home, tmp_path) as work:
        id_ = work.start()
        shown: dict[str, tuple[int, str]] = {}
        for name in ("plan", "b"):
            work.reaches(id_, name, "succeeded")
            old = pid_of(home)
            shown |= ends_of(work.run(id_))
            os.kill(old, signal.SIGKILL)
            until(lambda old=old: postgres.status(home).pid not in (None, old))
        work.ends_well(id_)
        ended = ends_of(work.run(id_))
        assert {name: ended[name] for name in shown} == shown


def ends_of(run: dict[str, Any] | None) -> dict[str, tuple[int, str]]:
    """Attempt and end of the steps that succeeded."""
    assert run is not None
    return {s["name"]: (s["attempt"], s["end"]) for s in run["steps"] if s["status"] == "succeeded"}


def test_an_end_that_the_database_forgot_is_come_to_again(home: Path, tmp_path: Path) -> None:
    """The commit that told of the end was not on the disk when the database was killed."""
    with working(home, tmp_path) as work:
        id_ = work.start()
        work.ends_well(id_)
        with psycopg.connect(postgres.start(home).superuser_conninfo, autocommit=True) as session:
            name = f"{id_}.plan.0"
            changed = (
                "update dbos.workflow_status set status = 'PENDING', output = null where workflow_uuid = %s"
            )
            assert session.execute(changed, [name]).rowcount == 1
            session.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'builderos-lease'"
            )
            status = "select status from dbos.workflow_status where workflow_uuid = %s"
            until(lambda: session.execute(status, [name]).fetchone() == ("SUCCESS",))
        work.ends_well(id_)


def test_runs_go_on_when_the_clock_is_set_back(home: Path, tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    shifted = {"program": "tests.support.shifted", "SHIFTED_CLOCK": str(clock), "PYTHONPATH": path}
    with working(home, tmp_path, **shifted) as work:
        id_ = work.start()
        work.reaches(id_, "a", "running")
        clock.write_text("-3600")
        work.ends_well(id_)
        clock.write_text("0")
        work.ends_well(work.start())
