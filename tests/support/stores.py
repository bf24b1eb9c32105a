"""Looks into the stores and the journal of a world."""

from pathlib import Path

import psycopg

from builderos.assets.repositories import maintenance
from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import Branch
from builderos.assets.repositories.service import RepositoryStore
from builderos.core.unit import Unit, as_system
from tests.support.databases import FreshDatabase
from tests.support.world import World, git


def branch_of(world: World, name: str) -> Branch:
    def find(unit: Unit) -> Branch:
        repo = repositories.find_repository(unit, "lab")
        found = repositories.find_branch(unit, repo.id, name)
        assert found is not None
        return found

    return as_system(world.context, world.org_id, find)


def store_of(world: World) -> RepositoryStore:
    return world.context.get(RepositoryStore)


def folder_of(world: World, branch: Branch) -> Path:
    return store_of(world).path(branch.store)


def fsck(world: World, branch: Branch) -> None:
    git("fsck", "--strict", "--full", cwd=folder_of(world, branch))


def rows(database: FreshDatabase) -> int:
    with psycopg.connect(database.superuser_conninfo) as connection:
        found = connection.execute("select count(*) from ops.git_journal").fetchone()
    assert found is not None
    return found[0]


def loose(folder: Path) -> int:
    return len(list(folder.glob("objects/[0-9a-f][0-9a-f]/*")))


def forget_handles(world: World) -> None:
    store = store_of(world)
    for folder in maintenance.stores_of(store):
        store.forget(folder)
        world.context.get(repositories.ObjectCache).forget(folder)
