"""Statements on one table as texts that stay prepared: where a path is hot, compiling an expression and making a cursor
cost more than what PostgreSQL does.
"""

import functools
from collections import namedtuple
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import sqlalchemy as sa
from psycopg.types.json import Jsonb
from sqlalchemy.dialects.postgresql import JSONB

from .exchange import Statement

Lock: TypeAlias = Literal["", "update", "update skip locked"]


def insertion(table: sa.Table, values: Mapping[str, Any], *, new: bool = False) -> Statement:
    """One row; `new`: nothing happens where its key is taken."""
    text = _insertion(table, tuple(values))
    return f"{text} on conflict do nothing" if new else text, _sent(table, values)


def change(table: sa.Table, id_: str, values: Mapping[str, Any]) -> Statement:
    """Columns of the row of this `id`."""
    return _change(table, tuple(values)), [*_sent(table, values), id_]


def selection(
    table: sa.Table, equal: Mapping[str, Any], *, order: str = "", lock: Lock = "", limit: int = 0
) -> Statement:
    """Whole rows whose columns equal these values; a list of texts: any of them. `order`: columns."""
    lists = tuple(isinstance(value, list) for value in equal.values())
    return _selection(table, tuple(equal), lists, order, lock, limit), list(equal.values())


def from_function(table: sa.Table, function: str, arguments: Sequence[Any]) -> Statement:
    """Whole rows of a table that one of our functions gives."""
    names = ", ".join(_names(table))
    return f"select {names} from {function}({', '.join(['%s'] * len(arguments))})", arguments  # noqa: S608 - our own names


def rows(table: sa.Table, found: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Rows of a whole table with the names of its columns, to be used as those of SQLAlchemy."""
    return [_row_type(table)(*row) for row in found]


def row_of(table: sa.Table, values: Mapping[str, Any]) -> Any:
    """The row that inserting these values makes, with None for what is not among them."""
    return _row_type(table)(*map(values.get, _names(table)))


class _Mapped:
    """What a row of SQLAlchemy has beside its columns."""

    __slots__ = ()

    @property
    def _mapping(self) -> dict[str, Any]:
        return self._asdict()  # type: ignore[attr-defined]  # pyright: ignore[reportUnknownVariableType, reportAttributeAccessIssue, reportUnknownMemberType]


@functools.cache
def _names(table: sa.Table) -> tuple[str, ...]:
    return tuple(column.name for column in table.c)


@functools.cache
def _row_type(table: sa.Table) -> Any:
    named: Any = namedtuple(table.name, _names(table))  # noqa: PYI024  # pyright: ignore[reportUntypedNamedTuple]
    return type(table.name, (_Mapped, named), {"__slots__": ()})


@functools.cache
def _documents(table: sa.Table) -> frozenset[str]:
    return frozenset(column.name for column in table.c if isinstance(column.type, JSONB))


def _sent(table: sa.Table, values: Mapping[str, Any]) -> list[Any]:
    documents = _documents(table)
    return [
        Jsonb(value) if name in documents and value is not None else value for name, value in values.items()
    ]


@functools.cache
def _insertion(table: sa.Table, columns: tuple[str, ...]) -> str:
    places = ", ".join(["%s"] * len(columns))
    return f"insert into {table.fullname} ({', '.join(columns)}) values ({places})"  # noqa: S608 - our own names


@functools.cache
def _change(table: sa.Table, columns: tuple[str, ...]) -> str:
    return f"update {table.fullname} set {', '.join(f'{c} = %s' for c in columns)} where id = %s"  # noqa: S608


@functools.cache
def _selection(
    table: sa.Table, columns: tuple[str, ...], lists: tuple[bool, ...], order: str, lock: str, limit: int
) -> str:
    equal = [f"{c} = any(%s)" if several else f"{c} = %s" for c, several in zip(columns, lists, strict=True)]
    text = f"select {', '.join(_names(table))} from {table.fullname} where {' and '.join(equal)}"  # noqa: S608
    text += f" order by {order}" if order else ""
    text += f" limit {limit}" if limit else ""
    return text + (f" for {lock}" if lock else "")
