"""A live server with one repository `lab`, an open sandbox in it, and a place for clones."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.databases import FreshDatabase
from tests.support.live import Clone, clone, served
from tests.support.world import Sandbox, World, world_in_temp


@dataclass
class Live:
    """A served world and one sandbox of it."""

    world: World
    url: str
    sandbox: Sandbox
    desk: Path

    def clone(self, name: str = "clone", *options: str, sandbox: Sandbox | None = None) -> Clone:
        """Clone with the token of a sandbox, by default the first one."""
        return clone(self.url, sandbox or self.sandbox, self.desk / name, *options)

    def tip(self, sandbox: Sandbox | None = None) -> str:
        """Where the server says the branch is."""
        return (sandbox or self.sandbox).post("/git/log")["items"][0]["sha"]

    def store(self, sandbox: Sandbox | None = None) -> Path:
        """The folder of a sandbox's own repository on the server."""
        name = (sandbox or self.sandbox).branch
        found = [
            folder
            for folder in (self.world.home / "repos").glob("*/*/branches/*/*.git")
            if (folder / "refs/heads" / name).exists()
        ]
        assert len(found) == 1
        return found[0]


@pytest.fixture
def live(database: FreshDatabase, tmp_path: Path) -> Iterator[Live]:
    """A server on a real socket."""
    with world_in_temp(database) as world, served(world) as url:
        yield Live(world, url, world.open_sandbox(), tmp_path)
