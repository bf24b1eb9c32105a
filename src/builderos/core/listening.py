"""LISTEN without a thread: an event loop waits for the words of one channel of the database."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import sqlalchemy as sa
from psycopg import sql

from .database import Database

_CONNECT_S = 5


def listen(channel: str) -> sql.Composed:
    """The statement that makes a connection hear a channel."""
    return sql.SQL("listen {}").format(sql.Identifier(channel))


@asynccontextmanager
async def listening(
    database: Database, channel: str, *, quiet_s: float
) -> AsyncGenerator[AsyncIterator[str | None]]:
    """The payloads that are told from now on, and None after each `quiet_s` seconds. Raises `psycopg.Error` where the
    database is away.

    A connection of its own, outside the pool: it sees no rows, and words only wake. Whoever enters reads what it may
    have missed before.
    """
    url = sa.make_url(database.url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await psycopg.AsyncConnection.connect(
        url, autocommit=True, connect_timeout=_CONNECT_S, application_name="builderos-listening", keepalives_idle=5,
        keepalives_interval=2, keepalives_count=3,
    )  # fmt: skip
    async with connection:
        await connection.execute(listen(channel))
        yield _payloads(connection, quiet_s)


async def _payloads(
    connection: psycopg.AsyncConnection[tuple[object, ...]], quiet_s: float
) -> AsyncGenerator[str | None]:
    while True:
        async for notice in connection.notifies(timeout=quiet_s):
            yield notice.payload
        yield None
