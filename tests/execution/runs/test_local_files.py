"""Runs as files of their project, and rows put back from them."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from builderos.core.settings import Settings
from builderos.execution.runs import local_artifacts, local_files
from builderos.execution.runs.local_files import LocalFiles, path_of
from tests.support.databases import Databases
from tests.support.runs import Ship, ship_in_temp
from tests.support.world import Json

TWO = 'steps:\n  - {id: a, run: "echo a > a.txt"}\n  - {id: b, needs: [a], action: noop, inputs: {x: 1}}\n'


@pytest.fixture(scope="module")
def ship(databases: Databases) -> Iterator[Ship]:
    with databases.fresh() as database, ship_in_temp(database) as made:
        yield made


def _file(ship: Ship, run: Json) -> Path:
    return path_of(ship.context.get(Settings).home_dir, ship.world.org_id, run["project_id"], run["id"])


def _written(ship: Ship, run: Json) -> Json:
    path, until = _file(ship, run), time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    return json.loads(path.read_text())


def _forget(ship: Ship, run_id: str) -> None:
    with psycopg.connect(ship.database.superuser_conninfo, autocommit=True) as conn:
        conn.execute("set session_replication_role = replica")  # append-only tables, too
        for table, column in (("run_events", "run_id"), ("run_steps", "run_id"), ("runs", "id")):
            gone = sql.SQL("delete from ops.{} where {} = %s").format(
                sql.Identifier(table), sql.Identifier(column)
            )
            conn.execute(gone, (run_id,))


def _events(ship: Ship, run_id: str) -> list[Json]:
    answer = ship.world.http.get(f"/v1/runs/{run_id}/events?stream=false&limit=200", headers=ship.box.headers)
    return ship.world.ok(answer)["items"]


def test_a_run_that_ended_is_a_file_in_the_words_of_the_contract(ship: Ship) -> None:
    run = ship.done(TWO)
    document = _written(ship, run)
    shown = ship.run(run["id"])
    assert {
        name: document[name] for name in ("id", "pipeline_id", "status", "steps", "provenance", "params")
    } == {name: shown[name] for name in ("id", "pipeline_id", "status", "steps", "provenance", "params")}
    assert [event["type"] for event in document["events"]][-1] == "run.ended"
    assert _file(ship, run).stat().st_mode & 0o777 == 0o600


def test_what_a_run_kept_lies_beside_its_file_by_its_names_and_takes_no_room(ship: Ship) -> None:
    text = """steps:
  - {id: a, run: "mkdir out; echo one > out/one.txt; echo same > out/b.txt", outputs: ["out/*.txt"]}
  - {id: b, needs: [a], run: "echo two > out/one.txt; echo same > c.txt", outputs: ["out/one.txt", c.txt]}
"""
    run = ship.done(text)
    file = _file(ship, run)
    document = _written(ship, run)
    assert len(document["artifacts"]) == 4
    folder = file.parent.parent / "artifacts" / run["id"]
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    assert {name: path.read_text() for name, path in found.items()} == {
        "out/one.txt": "two\n", "out/b.txt": "same\n", "c.txt": "same\n",
    }  # fmt: skip
    assert found["c.txt"].samefile(found["out/b.txt"])

    local_files.write(ship.context, ship.world.org_id, [run["id"]])  # again: the same
    assert found["out/one.txt"].read_text() == "two\n"
    assert local_artifacts.sweep(ship.context, ship.world.org_id) == 0
    for kept in (ship.context.get(Settings).home_dir / "artifacts" / ship.world.org_id).rglob("*"):
        if kept.is_file() and kept.samefile(found["out/one.txt"]):
            kept.unlink()
    assert local_artifacts.sweep(ship.context, ship.world.org_id) == 1
    assert [found["out/one.txt"].exists(), found["c.txt"].exists()] == [False, True]


def test_lost_rows_come_back_from_the_file(ship: Ship) -> None:
    run = ship.done(TWO)
    _written(ship, run)
    before, events = ship.run(run["id"]), _events(ship, run["id"])
    _forget(ship, run["id"])
    ship.world.problem(ship.world.as_owner("GET", f"/v1/runs/{run['id']}"), "not_found")
    found = ship.world.ok(ship.world.as_owner("POST", "/v1/admin/doctor", json={"fix": False}))
    check = next(c for c in found["checks"] if c["name"] == "projections of runs")
    assert not check["ok"]
    assert run["id"] in check["detail"]
    mended = ship.world.ok(ship.world.as_owner("POST", "/v1/admin/doctor", json={"rebuild": True}))
    assert next(c for c in mended["checks"] if c["name"] == "projections of runs")["fixed"]
    assert ship.run(run["id"]) == before
    assert _events(ship, run["id"]) == events


@pytest.mark.parametrize("lie", ["status", "fingerprint", "another"])
def test_a_file_that_the_ledger_does_not_bear_out_is_not_put_back(ship: Ship, lie: str) -> None:
    run = ship.done(TWO)
    document = _written(ship, run)
    _forget(ship, run["id"])
    path = _file(ship, run)
    row = document["rows"]["run"]
    if lie == "status":
        row["status"] = "failed"
    elif lie == "fingerprint":
        row["input_fingerprint"] = "sha256:" + "0" * 64
    else:
        row["id"] = "run_" + "0" * 26
    path.write_text(json.dumps(document))
    assert run["id"] in " ".join(local_files.rebuild(ship.context))
    ship.world.problem(ship.world.as_owner("GET", f"/v1/runs/{run['id']}"), "not_found")
    path.unlink()


def test_what_a_killed_process_did_not_write_is_written_by_the_schedule(ship: Ship) -> None:
    run = ship.done(TWO)
    _written(ship, run)
    _file(ship, run).unlink()
    assert local_files.catch_up(ship.context, ship.world.org_id) >= 1
    assert json.loads(_file(ship, run).read_text())["id"] == run["id"]
    assert local_files.catch_up(ship.context, ship.world.org_id) == 0


def test_a_file_names_what_the_run_kept(ship: Ship) -> None:
    run = ship.done("steps:\n  - {id: a, run: 'echo kept > report.txt', outputs: [report.txt]}\n")
    kept = _written(ship, run)["artifacts"]
    assert [(item["path"], item["run_id"]) for item in kept] == [("report.txt", run["id"])]
    assert kept[0]["hash"].startswith("sha256:")
    view = ship.world.ok(ship.world.http.get(f"/v1/runs/{run['id']}/view", headers=ship.box.headers))
    assert [item["id"] for item in view["artifacts"]["items"]] == [kept[0]["id"]]


def _log(ship: Ship, run: Json) -> Path:
    return _file(ship, run).parents[1] / f"logs/{run['id']}/a.1.log"


def test_on_several_machines_a_log_is_read_where_the_step_did_not_run(ship: Ship) -> None:
    run = ship.done('steps:\n  - {id: a, run: "seq 1 2000"}\n')
    settings, url = ship.context.get(Settings), f"/v1/steps/{ship.steps(run)['a']['id']}/logs"
    read = ship.world.ok(ship.world.http.get(f"{url}?tail=3", headers=ship.box.headers))
    log = _log(ship, run)
    ship.context.put(Settings, settings.model_copy(update={"database_url": SecretStr("elsewhere")}))
    try:
        local_files.catch_up(ship.context, ship.world.org_id)
        assert log.with_name(log.name + ".kept").exists()
        shutil.rmtree(log.parent)  # as on a machine on which the step did not run
        again = ship.world.ok(ship.world.http.get(f"{url}?tail=3", headers=ship.box.headers))
    finally:
        ship.context.put(Settings, settings)
    assert again == read
    assert again["text"] == "1998\n1999\n2000\n"
    assert again["line"] == 1998
    shutil.rmtree(log.parent)


def test_a_log_that_is_nowhere_is_said_to_be_nowhere(ship: Ship) -> None:
    run = ship.done(TWO)
    shutil.rmtree(_log(ship, run).parent)
    answer = ship.world.http.get(f"/v1/steps/{ship.steps(run)['a']['id']}/logs", headers=ship.box.headers)
    read = ship.world.ok(answer)
    assert (read["text"], read["size"], read["ended"]) == ("", 0, True)
    assert "no log of this attempt on this server" in read["note"]


def test_closing_writes_what_still_waits(ship: Ship) -> None:
    run = ship.done(TWO)
    _written(ship, run)
    _file(ship, run).unlink()
    files = LocalFiles(ship.context)
    files.put(ship.world.org_id, run["id"])
    files.close()
    assert _file(ship, run).exists()
