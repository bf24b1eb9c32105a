"""Triggers start runs by themselves: each occasion one, on behalf of who switched them on."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from builderos.core.unit import Unit, as_system
from builderos.execution.runs.triggers_firing import look
from builderos.execution.runs.triggers_model import triggers
from tests.support.databases import Databases
from tests.support.runs import Ship, ship_in_temp
from tests.support.world import Json


@pytest.fixture(scope="module")
def ship(databases: Databases) -> Iterator[Ship]:
    with databases.fresh() as database, ship_in_temp(database) as made:
        made.engine.stop(5)  # here the tests look, so that nothing depends on when
        yield made


def switched_on(ship: Ship, what: str, name: str | None = None) -> tuple[str, Json]:
    pipeline = ship.pipeline(f"triggers: [{what}]\nsteps:\n  - {{id: only, action: noop}}\n")
    where = {"repo_name": ship.box.repo_name, "branch": ship.box.branch}
    reply = ship.world.as_owner("POST", f"/v1/pipelines/{name or pipeline}/triggers", json=where)
    return pipeline, ship.world.ok(reply)["items"][0]


def runs(ship: Ship, pipeline: str) -> list[Json]:
    return ship.world.ok(ship.world.as_owner("GET", f"/v1/runs?pipeline={pipeline}"))["items"]


def trigger(ship: Ship, id_: str) -> Json:
    items = ship.world.ok(ship.world.as_owner("GET", "/v1/triggers"))["items"]
    return next(item for item in items if item["id"] == id_)


def inside(ship: Ship, verb: Callable[[Unit], Any]) -> Any:
    return as_system(ship.context, ship.world.org_id, verb)


def make_due(ship: Ship, id_: str) -> None:
    due = sa.update(triggers).where(triggers.c.id == id_)
    inside(ship, lambda unit: unit.execute(due.values(next_at=unit.now - timedelta(hours=3))))


def test_a_schedule_starts_one_run_however_many_look(ship: Ship) -> None:
    pipeline, on = switched_on(ship, '{schedule: "0 3 * * *"}')
    assert on["next_at"].endswith("T03:00:00Z")
    look(ship.context)
    assert runs(ship, pipeline) == []

    make_due(ship, on["id"])
    lookers = [threading.Thread(target=look, args=(ship.context,)) for _ in range(4)]
    for looker in lookers:
        looker.start()
    for looker in lookers:
        looker.join()

    (run,) = runs(ship, pipeline)
    assert (run["trigger"]["type"], run["trigger"]["trigger_id"]) == ("schedule", on["id"])
    after = trigger(ship, on["id"])
    assert (after["next_at"], after["last_run_id"]) == (on["next_at"], run["id"])


def test_a_branch_that_moves_starts_a_run_on_it_and_what_does_not_fit_none(ship: Ship) -> None:
    pipeline, _ = switched_on(ship, '{push: {branches: ["sandbox-*"], paths: ["src/**"]}}')
    foreign, _ = switched_on(ship, "{push: main}")

    ship.box.commit({"docs/a.md": "a"})
    done = ship.box.commit({"src/a.py": "a = 1\n"})
    look(ship.context)
    look(ship.context)

    (run,) = runs(ship, pipeline)
    assert (run["branch"], run["trigger"]["commit"]) == (ship.box.branch, done["commit_sha"])
    assert runs(ship, foreign) == []


def test_a_merge_and_a_rollback_move_a_branch_with_the_paths_that_they_change(ship: Ship) -> None:
    box = ship.box
    on_main, _ = switched_on(ship, "{push: {branches: main, paths: ['lib/**']}}")
    here, _ = switched_on(ship, f"{{push: {{branches: '{box.branch}', paths: ['lib/**']}}}}")

    bad = box.commit({"lib/a.py": "a = 1\n"})["commit_sha"]
    merged = box.post("/git/promote", title="Bring it")
    ship.world.as_owner("POST", f"/v1/approvals/{merged['approval_id']}", json={"decision": "approve"})
    box.post("/git/rollback_commit", commit_sha=bad, reason="wrong")
    look(ship.context)

    assert [run["branch"] for run in runs(ship, on_main)] == ["main"]
    assert [run["branch"] for run in runs(ship, here)] == [box.branch, box.branch]


def test_a_run_that_ends_starts_the_one_that_follows_it(ship: Ship) -> None:
    first = ship.pipeline("steps:\n  - {id: only, action: noop}\n")
    pipeline, _ = switched_on(ship, f"{{after: {{pipeline: {first}, statuses: [cancelled]}}}}")
    other, _ = switched_on(ship, f"{{after: {first}}}")
    id_ = ship.start(first)
    ship.world.ok(ship.world.as_owner("POST", f"/v1/runs/{id_}/cancel", json={}))

    look(ship.context)
    look(ship.context)

    (run,) = runs(ship, pipeline)
    assert (run["trigger"]["type"], run["trigger"]["run_id"]) == ("after", id_)
    assert runs(ship, other) == []


def test_a_trigger_keeps_the_pipeline_as_it_was_switched_on(ship: Ship) -> None:
    pipeline, on = switched_on(ship, '{schedule: "0 3 * * *"}')
    path = f"ship/{pipeline}/pipeline.yaml"
    ship.box.commit({path: f"name: {pipeline}\nversion: 6.6.6\nsteps:\n  - {{id: evil, action: noop}}\n"})

    make_due(ship, on["id"])
    look(ship.context)

    assert [run["pipeline_id"] for run in runs(ship, pipeline)] == [f"{pipeline}@1.0.0"]


def test_who_may_not_act_any_more_starts_no_run_and_the_trigger_stops(ship: Ship) -> None:
    key = ship.world.ok(
        ship.world.as_owner("POST", "/v1/api-keys", json={"label": "ci", "scopes": ["read", "write"]})
    )
    pipeline = ship.pipeline('triggers: [{schedule: "0 3 * * *"}]\nsteps:\n  - {id: only, action: noop}\n')
    where = {"repo_name": ship.box.repo_name, "branch": ship.box.branch}
    reply = ship.world.as_owner("POST", f"/v1/pipelines/{pipeline}/triggers", json=where)
    (on,) = ship.world.ok(reply)["items"]
    mine = sa.update(triggers).where(triggers.c.id == on["id"])

    def hand_over(unit: Unit) -> None:
        row = unit.execute(sa.select(triggers.c.actor).where(triggers.c.id == on["id"])).one()
        unit.execute(mine.values(actor={**row.actor, "credential_id": key["id"], "role": "api_key"}))

    inside(ship, hand_over)
    ship.world.ok(ship.world.as_owner("DELETE", f"/v1/api-keys/{key['id']}"))
    make_due(ship, on["id"])
    look(ship.context)

    assert runs(ship, pipeline) == []
    stopped = trigger(ship, on["id"])
    assert (stopped["state"], stopped["detail"]) == ("stopped", "who switched it on may not act any more")


def test_a_trigger_that_was_switched_off_starts_nothing(ship: Ship) -> None:
    pipeline, on = switched_on(ship, '{schedule: "0 3 * * *"}')
    make_due(ship, on["id"])
    ship.world.ok(ship.world.as_owner("DELETE", f"/v1/triggers/{on['id']}"))

    look(ship.context)

    assert runs(ship, pipeline) == []
    assert ship.world.as_owner("DELETE", f"/v1/triggers/{on['id']}").status_code == 404


def test_a_pipeline_without_triggers_and_a_sandbox_switch_nothing_on(ship: Ship) -> None:
    plain = ship.pipeline("steps:\n  - {id: only, action: noop}\n")
    where = {"repo_name": ship.box.repo_name, "branch": ship.box.branch}
    path = f"/v1/pipelines/{plain}/triggers"

    assert ship.world.as_owner("POST", path, json=where).json()["code"] == "validation_failed"
    assert ship.world.http.post(path, json=where, headers=ship.box.headers).json()["code"] == "policy_denied"
