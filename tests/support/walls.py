"""A database in which every table there is holds a made-up row of each of two organisations."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql

from builderos.core.database import Database

from .databases import Databases, FreshDatabase

OURS, THEIRS = "org_ours", "org_theirs"
TABLES = "select relname from pg_class where relnamespace = 'ops'::regnamespace and relkind in ('r', 'p') order by 1"
_MADE_UP: dict[str, Any] = {
    "integer": 1, "bigint": 1, "smallint": 1, "boolean": False, "timestamp with time zone": "2026-01-01Z",
    "jsonb": "{}", "ARRAY": "{}", "double precision": 1, "numeric": 1, "date": "2026-01-01",
    "interval": "1 day", "real": 1, "USER-DEFINED": "[1]", "uuid": f"{7:032x}",
}  # fmt: skip


@dataclass
class Walled:
    """A database in which every table holds a row of each organisation."""

    fresh: FreshDatabase
    tables: list[str]

    def sql(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows as the superuser sees them."""
        with psycopg.connect(self.fresh.superuser_conninfo, autocommit=True) as connection:
            cursor = connection.execute(query, values)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def as_ours(self) -> Iterator[psycopg.Connection[Any]]:
        """The server's connection in the middle of a call of our organisation; what it did is rolled back."""
        database = Database(self.fresh.keys, pool_size=1)
        try:
            with database.transaction(OURS) as transaction:
                yield transaction.driver
        finally:
            database.close()

    @contextmanager
    def bare(self) -> Iterator[psycopg.Connection[Any]]:
        """The server's role without any organisation."""
        url = sa.make_url(self.fresh.keys.url).set(drivername="postgresql")
        with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
            yield connection

    def theirs(self) -> dict[str, str]:
        """Everything the other organisation has, as text."""
        wanted = (
            "select coalesce(string_agg(t::text, '|' order by t::text), '') from ops.{} t where org_id = '{}'"
        )
        return {table: self.sql(wanted.format(table, THEIRS))[0][0] for table in self.tables}


@contextmanager
def walled_database(databases: Databases) -> Iterator[Walled]:
    """A fresh one, filled by the catalogue."""
    with databases.fresh() as fresh:
        with psycopg.connect(fresh.superuser_conninfo, autocommit=True) as connection:
            tables = [row[0] for row in connection.execute(TABLES)]
            connection.execute(
                "set session_replication_role = replica"
            )  # references to rows that are not there
            for table in tables:
                fill(connection, table)
        yield Walled(fresh, tables)


def fill(connection: psycopg.Connection[Any], table: str) -> None:
    """One made-up row of each organisation, whatever the columns are."""
    for (name,) in connection.execute(
        "select conname from pg_constraint where conrelid = ('ops.' || %s)::regclass and contype = 'c'",
        (table,),
    ).fetchall():
        connection.execute(
            sql.SQL("alter table ops.{} drop constraint {}").format(
                sql.Identifier(table), sql.Identifier(name)
            )
        )
    columns = connection.execute(
        "select column_name, data_type from information_schema.columns where table_schema = 'ops' and table_name = %s "
        "and (is_nullable = 'NO' or column_name = 'org_id') and column_default is null and is_identity = 'NO' "
        "and is_generated = 'NEVER'",
        (table,),
    ).fetchall()
    for org in (OURS, THEIRS):
        if table == "ledger":  # three of its columns are computed from it
            columns = [(name, "json" if name == "body" else type_) for name, type_ in columns]
        values = {name: made_up(name, type_, org, table) for name, type_ in columns}
        statement = sql.SQL("insert into ops.{} ({}) values ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join([sql.Placeholder()] * len(values)),
        )
        connection.execute(statement, list(values.values()))


def made_up(name: str, type_: str, org: str, table: str) -> Any:
    if name == "org_id" or (table, name) == ("orgs", "id"):
        return org
    if type_ == "text":
        return f"{name}-of-{org}"
    if type_ == "json":
        return f'{{"type":"{org}","object":"{org}","actor":"{org}"}}'
    return f"{name}-of-{org}".encode() if type_ == "bytea" else _MADE_UP[type_]


def attempt(connection: psycopg.Connection[Any], statement: str) -> int | None:
    """How many rows it touched; None where it was refused. Either way as if it had never been."""
    connection.execute("savepoint s")
    try:
        return connection.execute(statement).rowcount  # type: ignore[arg-type]
    except psycopg.Error:
        return None
    finally:
        connection.execute("rollback to s")
