"""A live server with one repository `lab`, an open sandbox in it, and a place for clones."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from builderos.assets.repositories import service as repositories
from builderos.core.unit import as_system
from tests.support.databases import Databases
from tests.support.gitclients import Clone, clone, run
from tests.support.live import live as serving
from tests.support.world import Sandbox, World, world_in_temp


@dataclass
class Live:
    """A served world and one sandbox of it."""

    world: World
    url: str
    sandbox: Sandbox
    desk: Path
    conninfo: str

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What the database holds, seen past every wall."""
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            cursor = connection.execute(query, values)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def grow_main(self, files: dict[str, str]) -> str:
        """Put a commit on main behind the server's back, as large as no sandbox could make it; its sha."""
        (base,) = (self.world.home / "repos").glob("*/*/base.git")
        folder = self.desk / "grown"
        assert run("clone", "-q", str(base), str(folder)).ok
        sha = Clone(folder, "main").commit(dict(files), "Grow")
        pushed = run("push", "-q", "origin", "HEAD:main", cwd=folder)
        assert pushed.ok, pushed.err
        self.rows("update ops.branches set tip = %s where name = 'main'", sha)
        return sha

    def clone(self, name: str = "clone", *options: str, sandbox: Sandbox | None = None) -> Clone:
        """Clone with the token of a sandbox, by default the first one."""
        box = sandbox or self.sandbox
        return clone(self.url, box.token, box.branch, self.desk / name, *options)

    def tip(self, sandbox: Sandbox | None = None) -> str:
        """Where the server says the branch is."""
        return (sandbox or self.sandbox).post("/git/log")["items"][0]["sha"]

    def store(self, sandbox: Sandbox | None = None) -> Path:
        """The folder of a sandbox's own repository on the server."""
        name = (sandbox or self.sandbox).branch
        ((id_, folder),) = self.rows("select id, store from ops.branches where name = %s", name)
        as_system(
            self.world.context,
            self.world.org_id,
            lambda unit: repositories.ready(unit, repositories.branch_by_id(unit, id_)),
        )
        return self.world.home / "repos" / folder


@contextmanager
def live_in_temp(databases: Databases, desk: Path, **settings: Any) -> Iterator[Live]:
    """A server on a real socket that nobody else uses."""
    with (
        databases.fresh() as database,
        world_in_temp(database, **settings) as world,
        serving(world.asgi) as url,
    ):
        yield Live(world, url, world.open_sandbox(), desk, database.superuser_conninfo)


@pytest.fixture(scope="module")
def shared(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The server of all tests of a module that leave main, the rules and each other's sandboxes alone."""
    with live_in_temp(databases, tmp_path_factory.mktemp("shared")) as live:
        yield live


@pytest.fixture
def live(shared: Live, tmp_path: Path) -> Live:
    """A sandbox and a desk of this test alone, on the server of its module."""
    return replace(shared, sandbox=shared.world.open_sandbox(), desk=tmp_path)


@pytest.fixture
def alone(databases: Databases, tmp_path: Path) -> Iterator[Live]:
    """A server of this test alone."""
    with live_in_temp(databases, tmp_path) as live:
        yield live
