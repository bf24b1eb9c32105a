"""Files of published prompts are a complete copy: lost rows come back from them, as far as the ledger knows them."""

from collections.abc import Iterator

import psycopg
import pytest

from builderos.assets.prompts import service as prompts
from tests.support.databases import Databases, FreshDatabase
from tests.support.world import World, world_in_temp

from .test_registry import publish, show, text


@pytest.fixture
def database(databases: Databases) -> Iterator[FreshDatabase]:
    with databases.fresh() as made:
        yield made


@pytest.fixture
def world(database: FreshDatabase) -> Iterator[World]:
    with world_in_temp(database) as made:
        yield made


def test_rows_come_back_from_files_that_the_ledger_knows(world: World, database: FreshDatabase) -> None:
    publish(world, text("1.0.0", "a_part", "Be {{ goal }}."))
    publish(world, text("1.0.0", "a_outer", "{{> a_part }}", partials="[a_part@1.0.0]"))
    before = {name: show(world, name) for name in ("a_part", "a_outer")}
    folder = prompts.local_files.folder_of(world.home, world.org_id)
    assert sorted(path.name for path in folder.iterdir()) == ["a_outer@1.0.0.yaml", "a_part@1.0.0.yaml"]
    assert (folder / "a_part@1.0.0.yaml").read_text() == before["a_part"]["spec_yaml"]

    forget(database)
    (folder / "forged@1.0.0.yaml").write_text(text("1.0.0", "forged"))
    assert world.as_owner("GET", "/v1/prompts/a_part").status_code == 404
    failed = prompts.local_files.rebuild(world.context)

    assert [line.partition(" ")[0] for line in failed] == ["forged@1.0.0"]
    for name, was in before.items():
        found = show(world, name)
        same = ("id", "sha256", "spec_yaml", "owner", "created_at", "changelog")
        assert {key: found[key] for key in same} == {key: was[key] for key in same}


def test_a_file_that_was_not_written_is_written_later(world: World) -> None:
    publish(world, text("1.0.0", "later"))
    path = prompts.local_files.folder_of(world.home, world.org_id) / "later@1.0.0.yaml"
    path.unlink()
    assert prompts.local_files.catch_up(world.context, world.org_id) == 1
    assert path.read_text() == text("1.0.0", "later")
    assert prompts.local_files.catch_up(world.context, world.org_id) == 0


def forget(database: FreshDatabase) -> None:
    """Take the rows away behind the server's back, as a database that was restored from before them has it."""
    with psycopg.connect(database.superuser_conninfo) as connection:
        connection.execute("alter table ops.prompts disable trigger user")
        connection.execute("delete from ops.prompts")
        connection.execute("alter table ops.prompts enable trigger user")
