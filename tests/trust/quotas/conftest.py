"""A server whose numbers are looked at, and what it does every few seconds."""

from collections.abc import Iterator

import pytest

from builderos.trust.notices import service as notices
from tests.support.databases import Databases
from tests.support.lab import Lab, lab_in_temp


@pytest.fixture
def fresh(databases: Databases) -> Iterator[Lab]:
    """A server of this test alone: its numbers are looked at."""
    with lab_in_temp(databases) as made:
        yield made


def tick(lab: Lab) -> None:
    """What a server does every few seconds."""
    notices.watch.tick(lab.world.context)
    notices.feed.pass_on(lab.world.context)
