"""Fixtures of all tests: real PostgreSQL, one server per test run, one fresh database per test."""

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from builderos.integrations.embedded_postgres import service
from tests.support import run_folder as folders
from tests.support.databases import Databases, FreshDatabase, run_name

if TYPE_CHECKING:
    from tests.support.world import World


@pytest.fixture(scope="session")
def run_folder() -> Iterator[Path]:
    """A folder that all workers share; its servers end with the last of them."""
    with folders.run_folder(run_name(), folders.ON_DISK) as folder:
        yield folder


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """The databases of the shared server. It forgets on power loss and is fast for it."""
    with folders.run_folder(f"{run_name()}-fast", folders.in_memory()) as folder:
        yield Databases(folder / "pg", durable=False, folder=folder)


@pytest.fixture(scope="session")
def cluster(databases: Databases) -> service.Cluster:
    """The server shared by all tests: do not stop it."""
    return databases.server()


@pytest.fixture
def database(databases: Databases) -> Iterator[FreshDatabase]:
    """A migrated database of this test alone."""
    with databases.fresh() as fresh:
        yield fresh


@pytest.fixture(scope="session")
def durable_databases(run_folder: Path) -> Databases:
    """The databases of a second shared server, with the flags of production."""
    return Databases(run_folder / "durable", durable=True, folder=run_folder)


@pytest.fixture(scope="session")
def durable_cluster(durable_databases: Databases) -> service.Cluster:
    """The shared server with the flags of production: do not stop it, take `home` for that."""
    return durable_databases.server()


@pytest.fixture
def durable_database(durable_databases: Databases) -> Iterator[FreshDatabase]:
    """A migrated database of this test alone, with the flags of production."""
    with durable_databases.fresh() as fresh:
        yield fresh


@pytest.fixture
def home(run_folder: Path) -> Iterator[Path]:
    """A state folder of this test alone, not made yet; a server in it is stopped afterwards."""
    path = run_folder / f"h{uuid.uuid4().hex[:8]}"
    yield path
    folders.end_homes(path)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def world(database: FreshDatabase) -> Iterator["World"]:
    """A whole server in this process with an imported repository `lab`."""
    from tests.support.world import world_in_temp  # it imports every room: tests of one room do without

    with world_in_temp(database) as made:
        yield made
