"""One dock for each module here."""

from collections.abc import Iterator

import pytest

from builderos.execution.compute.service import SandboxProviders
from tests.support.databases import Databases
from tests.support.hosting import Dock, dock_in_temp
from tests.support.sandboxes import needs_strong


@pytest.fixture(scope="module")
def dock(databases: Databases) -> Iterator[Dock]:
    with databases.fresh() as database, dock_in_temp(database) as made:
        needs_strong(made.ship.context.get(SandboxProviders).probe("local"))
        yield made
