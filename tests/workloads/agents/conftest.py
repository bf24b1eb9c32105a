"""A ship whose agents are answered by a script."""

from collections.abc import Iterator

import pytest

from builderos.workloads.agents.ports import Models
from tests.support.databases import Databases
from tests.support.models import Scripted
from tests.support.runs import Ship, ship_in_temp


@pytest.fixture(scope="module")
def ship(databases: Databases) -> Iterator[Ship]:
    with databases.fresh() as database, ship_in_temp(database) as made:
        yield made


@pytest.fixture
def model(ship: Ship) -> Scripted:
    scripted = Scripted()
    ship.context.put(Models, scripted)  # type: ignore[type-abstract]
    return scripted
