"""Statements in one message: their order, their values, their failures."""

from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import errors, pq
from psycopg.types.json import Jsonb

from builderos.core.database import Database
from builderos.core.exchange import Exchange
from builderos.core.problems import Problem
from tests.support.databases import FreshDatabase


@pytest.fixture
def connection(database: FreshDatabase) -> Iterator[psycopg.Connection[Any]]:
    url = database.keys.url.replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def _asked(exchange: Exchange, text: str, *values: Any) -> Any:
    return exchange.rows(exchange.run([(text, values)])[0])


def test_values_of_every_kind_arrive_as_they_were_sent(connection: psycopg.Connection[Any]) -> None:
    exchange = Exchange(connection)
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    values = (
        "a 'b' \\ ü",
        None,
        7,
        True,
        False,
        b"\0\xff",
        at,
        ["a", 'b"', "c,{}", "\\", "", "null", " ü\n"],
        [],
        Jsonb({"k": [1]}),
    )
    text = (
        "select %s::text, %s::text, %s::bigint, %s::bool, %s::bool, %s::bytea, %s::timestamptz, %s::text[], "
        "%s::text[], %s::jsonb"
    )
    for _ in range(2):  # prepared on the way, then known
        assert _asked(exchange, text, *values) == [(*values[:-1], {"k": [1]})]


def test_a_word_of_a_list_of_words_arrives_as_its_text(connection: psycopg.Connection[Any]) -> None:
    class Colour(StrEnum):
        RED = "red"

    assert _asked(Exchange(connection), "select %s::text", Colour.RED) == [("red",)]


def test_a_question_outside_any_organisation_gets_its_rows(database: FreshDatabase) -> None:
    asked = Database(database.keys)
    try:
        text = "select %s::text[], %s::timestamptz is null, current_setting('app.unit', true)"
        for _ in range(2):  # prepared on the way, then known
            assert asked.ask(text, (["a", "b"], None)) in (
                [(["a", "b"], True, None)],
                [(["a", "b"], True, "")],
            )
        with pytest.raises(Problem, match="did not answer"):
            asked.ask("select pg_terminate_backend(pg_backend_pid())")
        assert asked.ask("select 1") == [(1,)]
    finally:
        asked.close()


def test_the_first_failure_is_raised_and_nothing_behind_it_is_done(
    connection: psycopg.Connection[Any],
) -> None:
    connection.execute("create temp table t (n int primary key)")
    exchange = Exchange(connection)
    insert = "insert into t values (%s)"
    with pytest.raises(errors.UniqueViolation):
        exchange.run(
            [("begin", ()), (insert, (1,)), (insert, (1,)), ("insert into t values (2)", ()), ("commit", ())]
        )
    assert connection.info.transaction_status == pq.TransactionStatus.INERROR
    connection.rollback()
    assert _asked(exchange, "select count(*) from t") == [(0,)]
    assert [r.command_status for r in exchange.run([(insert, (3,)), ("insert into t values (2)", ())])] == [
        b"INSERT 0 1"
    ] * 2
    assert connection.execute("select n from t order by n").fetchall() == [(2,), (3,)]


def test_values_larger_than_every_buffer_go_both_ways(connection: psycopg.Connection[Any]) -> None:
    large = b"x" * 20_000_000
    asked = ("select %s::bytea", (large,))
    exchange = Exchange(connection)
    assert [exchange.rows(r) for r in exchange.run([asked, asked])] == [[(large,)]] * 2


def test_a_text_that_stands_a_thousand_times_in_one_message_is_prepared_once(
    connection: psycopg.Connection[Any],
) -> None:
    exchange = Exchange(connection)
    results = exchange.run([("select %s::bigint", (number,)) for number in range(1000)])
    assert [exchange.rows(result) for result in results] == [[(number,)] for number in range(1000)]
    assert _asked(exchange, "select count(*) from pg_prepared_statements") == [(2,)]  # and this question


def test_texts_that_are_prepared_anew_again_and_again_are_still_few(
    connection: psycopg.Connection[Any],
) -> None:
    exchange = Exchange(connection)
    for number in range(600):  # as psycopg does after a rollback of its own
        assert _asked(exchange, "select %s::bigint", number) == [(number,)]
        connection.execute("deallocate all", prepare=False)


def test_texts_that_contain_values_are_refused_before_they_fill_the_server(
    connection: psycopg.Connection[Any],
) -> None:
    exchange = Exchange(connection)
    exchange.run([(f"select {number}", ()) for number in range(501)])
    with pytest.raises(RuntimeError, match="must not contain values"):
        exchange.run([("select 501", ())])


def test_a_text_with_nul_is_refused_before_anything_is_sent(connection: psycopg.Connection[Any]) -> None:
    exchange = Exchange(connection)
    with pytest.raises(psycopg.DataError):
        exchange.run([("begin", ()), ("select %s::text", ("a\0b",))])
    assert connection.info.transaction_status == pq.TransactionStatus.IDLE
    assert _asked(exchange, "select 1") == [(1,)]


def test_a_server_that_goes_away_is_told_as_such(connection: psycopg.Connection[Any]) -> None:
    exchange = Exchange(connection)
    with pytest.raises(psycopg.OperationalError):
        exchange.run([("select pg_terminate_backend(pg_backend_pid())", ()), ("select pg_sleep(1)", ())])
    assert connection.broken
    with pytest.raises(psycopg.OperationalError):
        exchange.run([("select 1", ())])


def test_what_is_prepared_outlives_a_transaction_that_was_rolled_back(database: FreshDatabase) -> None:
    core = Database(database.keys, pool_size=1)
    try:
        with core.transaction("system", read_only=True) as transaction:
            for _ in range(10):  # often enough for psycopg to prepare it
                transaction.connection.execute(sa.text("select 1"))
            backend = transaction.ask("select pg_backend_pid()")
        with core.transaction("system") as transaction:
            assert transaction.ask("select pg_backend_pid()") == backend
            assert transaction.ask(
                "select count(*) > 1 from pg_prepared_statements where name like 'bos%'"
            ) == [(True,)]
    finally:
        core.close()
