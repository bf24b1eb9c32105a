"""Questions to PostgreSQL about itself, for the doctor."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import psycopg

from .database import Database
from .problems import Problem
from .tables import metadata

NUMBERS_MS: Final = 2000
_SETTINGS: Final = ("fsync", "full_page_writes", "synchronous_commit", "server_version_num", "wal_level")


@dataclass(frozen=True)
class ServerFacts:
    """What the database says of itself and of the role that serves requests.

    `missing`: columns (`table.column`) that the code knows and this database, as the role sees it, does not have.
    """

    version: int
    settings: dict[str, str]
    superuser: bool
    bypasses_rows: bool
    missing: tuple[str, ...]


def inspect(database: Database) -> ServerFacts:
    """Ask. Raises `Problem("unavailable")` where nobody answers."""
    with database.connection() as conn:
        settings = dict(
            conn.execute(
                "select name, setting from pg_settings where name = any(%s)", (list(_SETTINGS),)
            ).fetchall()
        )
        role = conn.execute(
            "select rolsuper, rolbypassrls from pg_roles where rolname = current_user"
        ).fetchone()
        there = set(
            conn.execute(
                "select table_name, column_name from information_schema.columns where table_schema = 'ops'"
            ).fetchall()
        )
    assert role is not None
    known = {(table.name, column.name) for table in metadata.tables.values() for column in table.columns}
    missing = tuple(sorted(f"{table}.{column}" for table, column in known - there))
    version = int(settings.pop("server_version_num"))
    return ServerFacts(version, settings, bool(role[0]), bool(role[1]), missing)


def clock_of(database: Database) -> datetime:
    """What time it is for the database. Raises `Problem("unavailable")`."""
    with database.connection() as conn:
        row = conn.execute("select clock_timestamp()").fetchone()
    assert row is not None
    return row[0]


def numbers(database: Database) -> list[tuple[str, str, float]]:
    """Name, label and value of what the database counts over all organisations (migration 0001, `ops.numbers`).

    Raises `Problem("unavailable")` where nobody answers within `NUMBERS_MS`.
    """
    with database.connection() as conn:
        try:
            with conn.transaction():
                conn.execute("select set_config('statement_timeout', %s, true)", (str(NUMBERS_MS),))
                return conn.execute("select name, label, value from ops.numbers()").fetchall()
        except psycopg.errors.QueryCanceled as error:
            raise Problem("unavailable", "counting takes too long", hint="Ask again later.") from error
