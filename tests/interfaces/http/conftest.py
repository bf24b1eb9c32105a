"""One server for all tests of a file; tests that need limits of their own make a world of their own."""

from collections.abc import Iterator

import pytest

from tests.support.databases import Databases
from tests.support.world import World, world_in_temp


@pytest.fixture(scope="module")
def shared_world(databases: Databases) -> Iterator[World]:
    with databases.fresh() as database, world_in_temp(database) as made:
        yield made
