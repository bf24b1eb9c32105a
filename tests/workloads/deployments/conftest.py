"""One server with a running engine for each module here; its deployments are looked at often."""

from collections.abc import Iterator

import pytest

from builderos.execution.compute.service import SandboxProviders
from builderos.integrations.bwrap.service import LocalSandboxes
from builderos.integrations.local_deploy.service import LocalDeployer
from builderos.integrations.local_deploy.version import Pace
from builderos.workloads.deployments.ports import Deployers
from tests.support.databases import Databases
from tests.support.deploying import Harbour
from tests.support.runs import Ship, ship_in_temp
from tests.support.sandboxes import needs_strong


def quick(ship: Ship) -> Deployers:
    """Deployers of this ship whose versions are looked at ten times in a second."""

    def jail() -> LocalSandboxes:
        provider = ship.context.get(SandboxProviders).provider("local")
        assert isinstance(provider, LocalSandboxes)
        return provider

    pace = Pace(every_s=0.1, patience_s=60.0, bad_looks=2)
    deployers = Deployers()
    deployers.enrol("local", lambda: LocalDeployer(jail, pace=pace, drain_s=2.0))
    return deployers


@pytest.fixture(scope="module")
def ship(databases: Databases) -> Iterator[Ship]:
    with databases.fresh() as database, ship_in_temp(database) as made:
        needs_strong(made.context.get(SandboxProviders).probe("local"))
        made.context.put(Deployers, quick(made))
        yield made


@pytest.fixture
def harbour(ship: Ship) -> Harbour:
    return Harbour(ship)
