"""One server with its double for the tests of a module."""

from collections.abc import Iterator

import pytest

from tests.support.databases import Databases
from tests.support.gateways import Models, models_in_temp
from tests.support.live import served


@pytest.fixture(scope="module")
def shared(databases: Databases) -> Iterator[Models]:
    with models_in_temp(databases) as made:
        yield made


@pytest.fixture(scope="module")
def address(shared: Models) -> Iterator[str]:
    """The server on a real port."""
    with served(shared.world) as url:
        yield url


@pytest.fixture
def models(shared: Models) -> Models:
    """The shared server with an ordinary file and nothing to remember."""
    shared.reset()
    return shared
