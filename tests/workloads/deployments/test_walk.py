"""From a tree of a branch to something that answers."""

from collections.abc import Iterator

import pytest

from tests.support.databases import Databases
from tests.support.deployers import get
from tests.support.deploying import Harbour
from tests.support.runs import Ship, ship_in_temp


@pytest.fixture(scope="module")
def ship(databases: Databases) -> Iterator[Ship]:
    with databases.fresh() as database, ship_in_temp(database) as made:
        yield made


@pytest.fixture
def harbour(ship: Ship) -> Harbour:
    return Harbour(ship)


def test_a_tree_of_a_branch_is_deployed_by_a_step_and_answers(harbour: Harbour) -> None:
    harbour.server("hello")
    run = harbour.deploy()
    assert run["status"] == "succeeded", run
    deployment = harbour.deployment(run)
    assert (deployment["status"], deployment["env"], deployment["number"]) == ("live", "preview", 1)
    assert get(deployment["url"]).text == "hello /  "
    assert harbour.get(f"/v1/deployments/{deployment['id']}") == deployment
    assert harbour.get(f"/v1/runs/{run['id']}/view")["preview_url"] == deployment["url"]
    health = harbour.get(f"/v1/deployments/{deployment['id']}/health")
    assert (health["well"], health["http_status"]) == (True, 200)
