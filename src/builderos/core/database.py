"""PostgreSQL as the server sees it: a pool of connections and transactions that belong to one organisation.

The server's role cannot leave row-level security. The organisation of a transaction is set by a keyed hash over the
backend's process id (`enter`), so that injected SQL cannot switch to another one (migration 0001, `ops.org`).
"""

import contextlib
import hashlib
import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Literal

import psycopg
import sqlalchemy as sa
from psycopg import errors as pg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from .problems import Problem

_ORG = re.compile(r"[A-Za-z0-9_]{1,64}\Z")
_FLUSH_SINCE = 170000  # pg_logical_emit_message(…, flush) exists since PostgreSQL 17


@dataclass(frozen=True)
class DatabaseKeys:
    """How to reach the database as the restricted role, and the key that proves an organisation to it."""

    url: str
    unit_key: bytes


class Database:
    """A pool in autocommit; `Transaction` issues its own BEGIN and COMMIT, each in one round trip."""

    def __init__(self, keys: DatabaseKeys, *, pool_size: int = 12) -> None:
        self._unit_key = keys.unit_key
        self.url = keys.url
        self.engine = sa.create_engine(
            keys.url, isolation_level="AUTOCOMMIT", pool_size=pool_size, max_overflow=pool_size, pool_timeout=10,
            pool_recycle=1800, connect_args={"connect_timeout": 5, "application_name": "builderos"},
        )  # fmt: skip

    def close(self) -> None:
        """Return every connection."""
        self.engine.dispose()

    @contextlib.contextmanager
    def connection(self) -> Generator[psycopg.Connection[Any]]:
        """A bare connection outside any organisation: sees no tenant rows, may call the definer functions."""
        with translated(), self._fresh() as connection:
            yield driver(connection)

    def organisations(self, work: str) -> list[str]:
        """Ids of the organisations with work of a kind: `outbox` those with messages that are due, any other word all."""
        with self.connection() as conn:
            return [str(row[0]) for row in conn.execute("select ops.due_orgs(%s)", (work,))]

    @contextlib.contextmanager
    def transaction(self, org_id: str, *, read_only: bool = False) -> Generator["Transaction"]:
        """A transaction as `org_id`. Leaving without `commit()` rolls back."""
        with translated(), self._fresh() as connection:
            transaction = Transaction(connection, self._begin(driver(connection), org_id, read_only))
            try:
                yield transaction
            finally:
                transaction.close()

    def _begin(
        self, conn: psycopg.Connection[Any], org_id: str, read_only: bool
    ) -> Literal["flush", "commit"]:
        if not _ORG.match(org_id):
            raise ValueError(f"not an organisation id: {org_id!r}")
        proof = hashlib.sha256(self._unit_key + f"{conn.info.backend_pid}:{org_id}".encode()).hexdigest()
        flush = conn.info.server_version >= _FLUSH_SINCE
        # Where the log can be flushed by hand, the commit itself does not wait for it: the organisation's ledger
        # head is free again before the disk is asked, and commits of one organisation share a flush.
        conn.execute(
            f"begin {'read only' if read_only else ''};"  # pyright: ignore[reportCallIssue, reportArgumentType]
            f"set local synchronous_commit={'off' if flush else 'on'}; set local lock_timeout='5s';"
            f"select set_config('app.unit', '{org_id} {proof}', true)"
        )
        return "flush" if flush and not read_only else "commit"

    @contextlib.contextmanager
    def _fresh(self) -> Generator[sa.Connection]:
        """A connection that answers: one that died with a restarted server is replaced before its first use."""
        connection = self.engine.connect()
        try:
            if driver(connection).broken or driver(connection).pgconn.socket < 0:
                connection.invalidate()
                connection.close()
                connection = self.engine.connect()
            elif _peer_closed(driver(connection)):
                connection.invalidate()
                connection.close()
                self.engine.dispose()
                connection = self.engine.connect()
            yield connection
        except psycopg.OperationalError:
            connection.invalidate()
            raise
        finally:
            connection.close()


class Transaction:
    """One open transaction. `commit` returns only when the write-ahead log is on disk."""

    def __init__(self, connection: sa.Connection, mode: Literal["flush", "commit"]) -> None:
        self.connection = connection
        self.driver = driver(connection)
        self._mode = mode
        self._open = True

    def commit(self) -> None:
        """Make everything durable; raises when PostgreSQL rolled back instead."""
        self._open = False
        sql = (
            "commit; select pg_logical_emit_message(false, '', '', true)"
            if self._mode == "flush"
            else "commit"
        )
        cursor = self.driver.execute(sql)
        if cursor.statusmessage == "ROLLBACK":
            raise psycopg.OperationalError("the transaction had failed and was rolled back")

    def close(self) -> None:
        """Roll back what was not committed."""
        if self._open and not self.driver.closed:
            self._open = False
            self.driver.rollback()


def driver(connection: sa.Connection) -> psycopg.Connection[Any]:
    """The psycopg connection below a SQLAlchemy one."""
    found = connection.connection.driver_connection
    assert isinstance(found, psycopg.Connection)
    return found  # pyright: ignore[reportUnknownVariableType]


def _peer_closed(conn: psycopg.Connection[Any]) -> bool:
    """Whether the server hung up while the connection lay in the pool (an idle socket that is readable)."""
    import select

    readable, _, _ = select.select([conn.pgconn.socket], [], [], 0)
    return bool(readable)


@contextlib.contextmanager
def translated() -> Generator[None]:
    """Faults of the database as problems a caller can act on; programming errors pass unchanged."""
    try:
        yield
    except DBAPIError as error:
        problem = as_problem(error.orig)
        if problem is None:
            raise
        raise problem from error
    except psycopg.Error as error:
        problem = as_problem(error)
        if problem is None:
            raise
        raise problem from error
    except PoolTimeout as error:
        raise busy() from error


def as_problem(error: BaseException | None) -> Problem | None:
    """The problem a database error means to a caller, or None when it is a fault of ours."""
    if isinstance(error, pg.LockNotAvailable | pg.DeadlockDetected | pg.SerializationFailure):
        return busy()
    if isinstance(error, pg.DiskFull):
        return Problem(
            "storage_full", "the database has no room left", hint="Free disk space and repeat the call."
        )
    if isinstance(error, pg.InsufficientResources):
        return busy()
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return Problem(
            "unavailable", "the database did not answer", hint="Nothing was changed; repeat the call shortly.",
            retry_after_s=1,
        )  # fmt: skip
    return None


def busy() -> Problem:
    """Somebody else holds what the call needs."""
    return Problem("busy", "somebody else is writing here", hint="Repeat the call.", retry_after_s=0.2)
