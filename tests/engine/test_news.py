"""Other processes are told that something happened, as long as one of them wants to know."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from builderos.engine.news import WANTED, WORD, News
from builderos.engine.signals import CHANNEL
from tests.support.databases import Databases
from tests.support.world import World, world_in_temp


@pytest.fixture(scope="module")
def database(databases: Databases) -> Iterator[Any]:
    with databases.fresh() as made:
        yield made


@pytest.fixture(scope="module")
def world(database: Any) -> Iterator[World]:
    with world_in_temp(database) as made:
        yield made


def _words(connection: psycopg.Connection[Any], count: int) -> list[list[str]]:
    return [json.loads(said.payload) for said in connection.notifies(timeout=60, stop_after=count)]


def test_a_process_tells_only_while_another_one_wants_it(world: World, database: Any) -> None:
    news = world.context.get(News)
    with psycopg.connect(database.superuser_conninfo, autocommit=True) as connection:
        connection.execute(f"listen {CHANNEL}")
        news.touch("org_before")
        news.want(world.org_id)  # its own wish is none of another's
        ((word, me),) = _words(connection, 1)
        assert word == WANTED
        news.wanted(me)
        news.touch("org_before")
        news.wanted("another")
        news.touch(world.org_id)
        assert _words(connection, 1) == [[WORD, world.org_id]]


def test_who_listens_here_hears_at_once_what_is_durable(world: World) -> None:
    heard: list[str] = []
    world.context.get(News).listen(heard.append)
    world.open_sandbox()
    assert set(heard) == {world.org_id}
    refused = world.http.get("/v1/audit")
    assert refused.status_code == 401
    count = len(heard)
    world.ok(world.as_owner("GET", "/v1/me"))
    assert len(heard) == count
