"""Two executions of one step: the one that lost it writes nothing, whatever it believes."""

from collections.abc import Iterator

import pytest

from builderos.core.steps import Done
from builderos.core.unit import Unit, as_system
from builderos.engine.durable import Durable
from builderos.execution.runs.model import steps
from builderos.execution.runs.rows import Row, find_step
from builderos.execution.runs.stepping import Stepper
from tests.support.databases import Databases
from tests.support.runs import Ship, ship_in_temp
from tests.support.servers import until

PIPELINE = """
steps:
  - {id: make, run: "true"}
  - {id: after, needs: [make], action: noop}
"""


@pytest.fixture(scope="module")
def ship(databases: Databases) -> Iterator[Ship]:
    """A server that leaves commands to others, of whom there are none."""
    with databases.fresh() as database, ship_in_temp(database, queues="") as made:
        yield made


def row(ship: Ship, run_id: str, name: str) -> Row:
    def find(unit: Unit) -> Row:
        wanted = steps.select().where(steps.c.run_id == run_id, steps.c.name == name)
        return unit.execute(wanted).one()

    return as_system(ship.context, ship.world.org_id, find, read_only=True)


def stepper(ship: Ship, run_id: str) -> Stepper:
    made = row(ship, run_id, "make")
    return Stepper(ship.context, ship.world.org_id, run_id, made.id, made.turn)


def test_who_lost_a_step_to_another_process_writes_nothing(ship: Ship) -> None:
    id_ = ship.start(ship.pipeline(PIPELINE))
    frozen, heir = stepper(ship, id_), stepper(ship, id_)
    mine, theirs = frozen.begin(), heir.begin()
    assert mine is not None
    assert theirs is not None
    assert mine.work.attempt == theirs.work.attempt == 1
    before = row(ship, id_, "make")
    frozen.end(mine.work, Done("failed", "exit", "what the frozen one believes"))
    frozen.interrupted(mine.work)
    assert row(ship, id_, "make") == before
    heir.end(theirs.work, Done(result={"exit_code": 0}))
    run = ship.until(id_)
    assert ship.statuses(run) == {"make": "succeeded", "after": "succeeded"}


def test_who_comes_back_too_late_finds_the_step_ended(ship: Ship) -> None:
    id_ = ship.start(ship.pipeline(PIPELINE))
    late = stepper(ship, id_)
    begun = late.begin()
    assert begun is not None
    heir = stepper(ship, id_)
    taken = heir.begin()
    assert taken is not None
    heir.end(taken.work, Done(result={"exit_code": 0}))
    ship.until(id_)
    before = row(ship, id_, "make")
    late.end(begun.work, Done("failed", "exit"))
    assert stepper(ship, id_).begin() is None
    assert row(ship, id_, "make") == before


def test_a_process_that_does_not_serve_the_queue_hands_the_step_on(ship: Ship) -> None:
    id_ = ship.start(ship.pipeline(PIPELINE))
    stepper(ship, id_).begin()  # by a process that died
    stepper(ship, id_).hand_on()
    found = row(ship, id_, "make")
    assert (found.status, found.attempt, found.turn) == ("running", 1, 1)
    tasks = ship.context.get(Durable).standings
    until(lambda: tasks([f"{id_}.make.1"]) == {f"{id_}.make.1": "waiting"})
    assert as_system(ship.context, ship.world.org_id, lambda u: find_step(u, found.id)).tries == 0
