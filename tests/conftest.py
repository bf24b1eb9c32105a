"""Fixtures of all tests: real PostgreSQL, one server per test run, one fresh database per test."""

import gc
import os
import shutil
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from builderos.integrations.embedded_postgres import service
from tests.support import run_folder as folders
from tests.support.databases import Databases, FreshDatabase, forget, run_name
from tests.support.server import STARTED

if TYPE_CHECKING:
    from tests.support.buckets import Service
    from tests.support.lab import Lab
    from tests.support.world import World

LOG_SHOWN = 6000  # characters of a server's log

# Each run tries the same examples, however slow the machine is; the long form looks for new ones.
settings.register_profile(
    "steady", derandomize=not os.environ.get("BUILDEROS_SOAK"), database=None, deadline=None
)
settings.load_profile("steady")

# Collecting makes some millions of objects that stay: searching them for garbage, again and again, would take a third
# of the time of collecting, and would slow every test down.
gc.disable()


def pytest_collection_finish() -> None:
    """From here on, only what tests make is searched for garbage, and not after every few hundred objects."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows what the servers said meanwhile: an answer of theirs tells a caller less than their logs."""
    report = yield
    for log in STARTED if report.failed else ():
        if log.exists() and log.stat().st_mtime >= call.start:
            report.sections.append((f"{item.name}: {log}", log.read_text(errors="replace")[-LOG_SHOWN:]))
    return report


@pytest.fixture(scope="session")
def run_folder() -> Iterator[Path]:
    """A folder that all workers share; its servers end with the last of them."""
    with folders.run_folder(run_name(), folders.ON_DISK) as folder:
        yield folder


@pytest.fixture(scope="session")
def fast_folder() -> Iterator[Path]:
    """Like `run_folder`, in memory where there is enough of it: for what need not survive."""
    with folders.run_folder(f"{run_name()}f", folders.in_memory()) as folder:
        yield folder


@pytest.fixture(scope="session")
def databases(fast_folder: Path) -> Databases:
    """The databases of the shared server. It forgets on power loss and is fast for it."""
    return Databases(fast_folder / "pg", durable=False, folder=fast_folder)


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
def home(fast_folder: Path) -> Iterator[Path]:
    """A state folder of this test alone, not made yet; a server in it is stopped afterwards."""
    path = fast_folder / f"h{uuid.uuid4().hex[:8]}"
    yield path
    folders.end_homes(path)
    forget(path)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def world(database: FreshDatabase) -> Iterator["World"]:
    """A whole server in this process with an imported repository `lab`."""
    from tests.support.world import world_in_temp  # it imports every room: tests of one room do without

    with world_in_temp(database) as made:
        yield made


@pytest.fixture(scope="session")
def buckets(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Service"]:
    """Somebody else's S3, without any bucket; the credentials for it are in the environment."""
    from tests.support import buckets as support

    with pytest.MonkeyPatch.context() as patch, support.service(tmp_path_factory.mktemp("s3")) as made:
        for name, value in support.CREDENTIALS.items():
            patch.setenv(name, value)
        yield made


@pytest.fixture(scope="module")
def lab(databases: Databases) -> Iterator["Lab"]:
    """A whole server that the tests of one module share, with an imported repository `lab`."""
    from tests.support.lab import lab_in_temp

    with lab_in_temp(databases) as made:
        yield made
