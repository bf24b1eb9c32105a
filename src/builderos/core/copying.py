"""All rows of one installation into the empty database of another, and the proof that they arrived.

For `builderos admin move`: nobody else is connected to the source, and the target was migrated and holds nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from .problems import Problem

_SCHEMA = "ops"
_CHUNK_OF_TEXT = "set timezone to 'UTC'; set extra_float_digits to 1; set bytea_output to 'hex'"


@dataclass(frozen=True)
class Copied:
    """Rows by table."""

    tables: dict[str, int]

    @property
    def rows(self) -> int:
        """All of them."""
        return sum(self.tables.values())


def copy(source: str, target: str, tell: Callable[[str], None]) -> Copied:
    """Copy all rows of `ops`, in one transaction of the target, and compare both sides.

    Raises `conflict` where the target is not empty or another version, `unavailable` where the copy is another one.
    """
    with psycopg.connect(source) as old, psycopg.connect(target) as new:
        old.execute("set transaction isolation level repeatable read read only")
        tables = _tables(old)
        if tables != _tables(new):
            raise Problem(
                "conflict",
                "the two databases are of different versions",
                hint="Start both once with this one.",
            )
        filled = [
            name
            for name in tables
            if new.execute(_of("select exists (select from {})", name)).fetchone() == (True,)
        ]
        if filled:
            raise Problem(
                "conflict",
                f"the target is not empty: {filled[0]} has rows",
                hint="Name a database that nobody has used.",
            )
        _quiet(new)
        counts: dict[str, int] = {}
        for name, columns in tables.items():
            counts[name] = _copy(old, new, name, columns)
            if counts[name]:
                tell(f"{name}: {counts[name]} rows")
        _numbers_go_on(new)
        differing = [name for name in tables if _sum(old, name) != _sum(new, name)]
        if differing:
            raise Problem(
                "unavailable", f"the copy of {differing[0]} is not what was read", hint="Begin anew."
            )
        new.commit()
    return Copied(counts)


def _quiet(connection: psycopg.Connection[Any]) -> None:
    """No triggers and no order of keys: what comes was whole where it came from."""
    try:
        connection.execute("set local session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege as error:
        raise Problem(
            "validation_failed", "the administrator of the target may not set session_replication_role",
            hint="Use the role that the provider gives for restoring: rds_superuser, postgres.",
        ) from error  # fmt: skip


def _tables(connection: psycopg.Connection[Any]) -> dict[str, tuple[str, ...]]:
    """The columns that are stored, by table."""
    rows = connection.execute(
        "select c.relname, array_agg(a.attname order by a.attname) from pg_catalog.pg_class c "
        "join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped "
        "and a.attgenerated = '' where c.relnamespace = 'ops'::regnamespace and c.relkind = 'r' "
        "group by c.relname order by c.relname"
    ).fetchall()
    return {str(name): tuple(columns) for name, columns in rows}


def _of(statement: str, table: str, **more: sql.Composable) -> sql.Composed:
    return sql.SQL(statement).format(sql.Identifier(_SCHEMA, table), **more)  # pyright: ignore[reportArgumentType]


def _copy(
    old: psycopg.Connection[Any], new: psycopg.Connection[Any], table: str, columns: tuple[str, ...]
) -> int:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    reading = _of("copy (select {names} from {}) to stdout (format binary)", table, names=names)
    writing = _of("copy {} ({names}) from stdin (format binary)", table, names=names)
    cursor = new.cursor()
    with old.cursor().copy(reading) as rows, cursor.copy(writing) as into:
        for piece in rows:
            into.write(piece)
    return cursor.rowcount


def _numbers_go_on(connection: psycopg.Connection[Any]) -> None:
    """Columns that number themselves go on behind what came."""
    found = connection.execute(
        "select c.relname, a.attname from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid "
        "where c.relnamespace = 'ops'::regnamespace and c.relkind = 'r' and a.attidentity <> ''"
    ).fetchall()
    for table, column in found:
        connection.execute(
            _of(
                "select pg_catalog.setval(pg_catalog.pg_get_serial_sequence({name}, {word}), "
                "(select max({column}) from {}))", table,
                name=sql.Literal(f"{_SCHEMA}.{table}"), word=sql.Literal(column), column=sql.Identifier(column),
            )
        )  # fmt: skip


def _sum(connection: psycopg.Connection[Any], table: str) -> Any:
    """How many rows there are, and a sum over all that they say, in whatever order they lie."""
    connection.execute(_CHUNK_OF_TEXT)
    return connection.execute(
        _of("select count(*), sum(pg_catalog.hashtextextended(t::text, 0)::numeric) from {} t", table)
    ).fetchone()
