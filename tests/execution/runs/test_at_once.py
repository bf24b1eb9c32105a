"""Steps that only compute: done in the unit that lets them run, and told like any other."""

from collections.abc import Iterator

import pytest

from builderos.core.unit import as_system
from builderos.execution.runs.local_files import LocalFiles, path_of
from builderos.execution.runs.service import events
from builderos.trust.ledger import service as ledger
from tests.support.databases import Databases
from tests.support.engines import select
from tests.support.runs import Ship, ship_in_temp
from tests.support.world import Json


@pytest.fixture(scope="module")
def ship(databases: Databases) -> Iterator[Ship]:
    with databases.fresh() as database, ship_in_temp(database) as made:
        yield made


def _told(ship: Ship, run_id: str) -> list[tuple[int, str]]:
    found = as_system(ship.context, ship.world.org_id, lambda unit: events.read(unit, run_id), read_only=True)
    return [(event.seq, event.type) for event in found]


def _line(ship: Ship, run_id: str, type_: str) -> Json:
    (line,) = as_system(
        ship.context, ship.world.org_id, lambda unit: ledger.lines_about(unit, run_id, type_=type_),
        read_only=True,
    )  # fmt: skip
    return line


def _tasks(ship: Ship, run_id: str) -> int:
    found = f"select count(*) from dbos.workflow_status where workflow_uuid like '{run_id}.%'"
    return int(select(ship.database.superuser_conninfo, found)[0][0])


def test_a_run_that_only_computes_is_over_with_the_call_that_starts_it(ship: Ship) -> None:
    id_ = ship.start(ship.pipeline("steps:\n  - {id: a, action: noop, inputs: {x: 1}}"))
    run = ship.run(id_)
    step = ship.steps(run)["a"]
    assert (run["status"], step["status"], step["attempt"], step["result"]) == (
        "succeeded",
        "succeeded",
        1,
        {"x": 1},
    )
    assert _tasks(ship, id_) == 0


def test_what_is_done_at_once_is_told_in_the_usual_order(ship: Ship) -> None:
    id_ = ship.start(
        ship.pipeline("steps:\n  - {id: a, action: noop}\n  - {id: b, action: noop, needs: [a]}")
    )
    types = [
        "run.created",
        "step.started",
        "run.started",
        "step.ended",
        "step.started",
        "step.ended",
        "run.ended",
    ]
    assert _told(ship, id_) == list(enumerate(types, 1))
    begun, over = _line(ship, id_, "run.started"), _line(ship, id_, "run.ended")
    assert begun["seq"] < over["seq"]
    assert (over["door"], over["request_id"], over["actor"]) == ("run", id_, begun["actor"])
    assert [step["name"] for step in over["payload"]["steps"]] == ["a", "b"]


def test_a_unit_does_a_few_such_steps_and_leaves_the_others_to_tasks(ship: Ship) -> None:
    chain = "\n".join(
        f"  - {{id: s{n}, action: noop{f', needs: [s{n - 1}]' if n else ''}}}" for n in range(20)
    )
    run = ship.done(f"steps:\n{chain}")
    assert run["status"] == "succeeded"
    assert 0 < _tasks(ship, run["id"]) < 20


def test_behind_the_answer_of_another_a_step_is_done_as_who_started_the_run(ship: Ship) -> None:
    text = "steps:\n  - {id: ask, question: Go on?}\n  - {id: after, needs: [ask], action: noop}"
    id_ = ship.start(ship.pipeline(text))
    ship.until(id_, "waiting_input")
    answered = ship.world.http.post(
        "/runs/answer", json={"run_id": id_, "answer": "yes"}, headers=ship.world.owner
    )
    ship.world.ok(answered)
    assert ship.until(id_)["status"] == "succeeded"
    assert _line(ship, id_, "run.ended")["actor"] == _line(ship, id_, "run.started")["actor"]
    assert _line(ship, id_, "run.answered")["actor"] != _line(ship, id_, "run.ended")["actor"]


def test_a_run_that_is_nowhere_keeps_no_file_of_another_from_being_written(ship: Ship) -> None:
    run = ship.done("steps:\n  - {id: a, action: noop}")
    path = path_of(ship.world.home, ship.world.org_id, run["project_id"], run["id"])
    path.unlink(missing_ok=True)
    files = LocalFiles(ship.context)
    for id_ in ("run_unknown", run["id"]):
        files.put(ship.world.org_id, id_, 1)
    files.close()
    assert path.exists()
