"""Folders of attempts go with their run, however it ends, and with the schedule where nobody else saw to it."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from builderos.core.home import PROJECTS
from builderos.core.settings import Settings
from builderos.execution.runs import leftovers, local_files
from tests.support.databases import Databases
from tests.support.runs import Ship, ship_in_temp
from tests.support.servers import until
from tests.support.world import Json

MANY = "  - {id: a, run: 'seq 1001 | xargs touch', outputs: ['*']}"
DEEP = """  - id: a
    run: |
      for n in $(seq 400); do mkdir d && cd d; done; exit 3
"""


@pytest.fixture(scope="module")
def ship(databases: Databases) -> Iterator[Ship]:
    with databases.fresh() as database, ship_in_temp(database) as made:
        yield made


def _work(ship: Ship) -> Path:
    return ship.context.get(Settings).home_dir / PROJECTS / ship.world.org_id / "none" / "work"


def _doctor(ship: Ship, **body: object) -> Json:
    said = ship.world.ok(ship.world.as_owner("POST", "/v1/admin/doctor", json=body))
    return next(check for check in said["checks"] if check["name"] == "folders of runs")


def test_a_cancelled_attempt_leaves_no_folder(ship: Ship) -> None:
    run_id = ship.start(
        ship.pipeline("steps:\n  - {id: a, run: 'mkdir -p x/y; echo 1 > x/y/z; touch up; sleep 60'}")
    )
    folder = _work(ship) / run_id
    until((folder / "a.1" / "up").exists)
    ship.world.as_owner("POST", f"/v1/runs/{run_id}/cancel", json={})
    assert ship.until(run_id)["status"] == "cancelled"
    until(lambda: not folder.exists())


@pytest.mark.parametrize(
    ("step", "status"),
    [(MANY, "failed"), ("  - {id: a, run: 'echo new > a.txt'}", "succeeded"), (DEEP, "failed")],
    ids=["a problem with its outputs", "succeeded", "folders without end"],
)
def test_a_run_that_is_over_leaves_no_folder(ship: Ship, step: str, status: str) -> None:
    run = ship.done(f"steps:\n{step}")
    assert run["status"] == status, run
    until(lambda: not (_work(ship) / run["id"]).exists())


def test_what_a_dead_process_left_is_told_by_the_doctor_and_taken_away(ship: Ship) -> None:
    waiting = ship.start(ship.pipeline("steps:\n  - {id: a, question: Go on?}"))
    ship.until(waiting, "waiting_input")
    left = _work(ship) / "run_01jdead000000000000000000"
    for run in (left, _work(ship) / waiting):
        (run / "a.1" / "deep").mkdir(parents=True)
        os.utime(run, (1, 1))
    (young := _work(ship) / "run_01jyoung00000000000000000").mkdir()
    said = _doctor(ship)
    assert (said["ok"], left.name in said["detail"], waiting in said["detail"]) == (False, True, False)
    mended = _doctor(ship, fix=True)
    assert (mended["ok"], mended["fixed"]) == (True, True)
    assert not left.exists()
    assert (_work(ship) / waiting).exists()
    assert young.exists()
    left.mkdir()
    os.utime(left, (1, 1))
    local_files.catch_up(ship.context, ship.world.org_id)
    assert not left.exists()
    assert leftovers.sweep(ship.context, ship.world.org_id) == 0
    shutil.rmtree(young)
