"""One desk for each module here."""

from collections.abc import Iterator

import pytest

from builderos.execution.compute.service import SandboxProviders
from tests.support.databases import Databases
from tests.support.notebooks import Desk, desk_in_temp
from tests.support.sandboxes import needs_strong


@pytest.fixture(scope="module")
def desk(databases: Databases) -> Iterator[Desk]:
    with databases.fresh() as database, desk_in_temp(database) as made:
        needs_strong(made.ship.context.get(SandboxProviders).probe("local"))
        yield made
