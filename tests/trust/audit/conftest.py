"""A server whose sinks reach loopback, with nothing of the test before."""

from collections.abc import Iterator

import pytest

from tests.support.databases import Databases
from tests.support.lab import Lab, lab_in_temp
from tests.support.receivers import NETWORKS


@pytest.fixture(scope="module")
def site(databases: Databases) -> Iterator[Lab]:
    """A server whose owner lets sinks reach loopback."""
    with lab_in_temp(databases, webhook_networks=NETWORKS) as made:
        yield made


@pytest.fixture
def alone(site: Lab) -> Iterator[None]:
    """Nothing of one test reaches the sinks of another."""
    yield
    site.sql("update ops.sinks set state = 'deleted'")
    site.sql("update ops.outbox set done_at = now() where done_at is null")
