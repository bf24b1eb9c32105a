"""Conditions of steps that need no other one."""

from collections.abc import Iterator

import pytest

from tests.support.databases import Databases
from tests.support.runs import Ship, ship_in_temp

ONE_OF_TWO = """
params: {where: {type: string, required: true}}
steps:
  - {id: here, when: "params.where == 'here'", action: noop}
  - {id: there, when: "params.where == 'there'", action: noop}
  - {id: both, needs: [here, there], action: noop}
"""
NONE = """
concurrency: {group: none}
steps:
  - {id: never, when: "run.branch == 'main'", action: noop}
"""


@pytest.fixture(scope="module")
def ship(databases: Databases) -> Iterator[Ship]:
    with databases.fresh() as database, ship_in_temp(database) as made:
        yield made


def test_a_first_step_whose_condition_does_not_hold_is_skipped(ship: Ship) -> None:
    run = ship.done(ONE_OF_TWO, params={"where": "there"})
    assert ship.statuses(run) == {"here": "skipped", "there": "succeeded", "both": "succeeded"}
    assert ship.steps(run)["here"]["reason"] == "condition"


def test_a_run_of_which_no_step_is_to_run_is_over_at_once_and_the_next_of_its_group_begins(
    ship: Ship,
) -> None:
    name = ship.pipeline(NONE)
    for _ in range(2):
        run = ship.until(ship.start(name))
        assert (run["status"], ship.statuses(run)) == ("succeeded", {"never": "skipped"})
    path = f"/v1/audit?object={run['id']}"
    lines = ship.world.ok(ship.world.as_owner("GET", path))["items"]
    assert [line["type"] for line in lines] == ["run.ended", "run.started"]
