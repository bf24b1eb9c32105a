"""PostgreSQL as the server sees it: a pool of connections and transactions that belong to one organisation.

The server's role cannot leave row-level security. The organisation of a transaction is set by a keyed hash over the
backend's process id (`enter`), so that injected SQL cannot switch to another one (migration 0001, `ops.org`).
"""

import contextlib
import hashlib
import os
import re
import select
import socket
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import errors as pg
from psycopg import pq
from psycopg.types.json import Jsonb
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from . import statement_spans, tracing
from .exchange import Exchange, Statement
from .problems import Problem

_SERVER = "server"  # no organisation is called so (migration 0001, `ops.ensure_server`)
_ORG = re.compile(r"[A-Za-z0-9_]{1,64}\Z")
# Without statistics PostgreSQL takes a young table for a tiny one and reads it whole, each time a bit longer.
_PLANS = "-c enable_seqscan=off"
_WIRE = "builderos.exchange"
_FLUSH_SINCE = 170000  # pg_logical_emit_message(…, flush) exists since PostgreSQL 17
_CONFLICT = "BO409"  # raised by our own functions: what was to be changed stands otherwise
_FLUSH = "select pg_logical_emit_message(false, '', '', true)"
_FLUSH_WHAT_IS_THERE = (
    "select case when pg_current_wal_flush_lsn() < pg_current_wal_insert_lsn() "
    "then pg_logical_emit_message(false, '', '', true) end"
)


_LOCAL = (
    "select set_config('synchronous_commit', %s, true), set_config('app.unit', %s, true), "
    "set_config('lock_timeout', '5s', true)"
)


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
        options = f"{sa.make_url(keys.url).query.get('options', '')} {_PLANS}".strip()
        self.engine = sa.create_engine(
            keys.url, isolation_level="AUTOCOMMIT", pool_size=pool_size, max_overflow=pool_size, pool_timeout=10,
            pool_recycle=1800, pool_use_lifo=True,  # the connection used last has what it needs at hand
            connect_args={"connect_timeout": 5, "application_name": "builderos", "options": options},
        )  # fmt: skip
        self.silent = False  # set by `pulse`: it is there and does not answer
        self._out: set[psycopg.Connection[Any]] = set()
        event.listen(self.engine, "checkout", self._taken)
        for end in ("checkin", "invalidate"):
            event.listen(self.engine, end, self._given_back)
        if tracing.on():
            statement_spans.trace(self.engine)

    def _taken(self, connection: psycopg.Connection[Any], *_: Any) -> None:
        self._out.add(connection)

    def _given_back(self, connection: psycopg.Connection[Any] | None, *_: Any) -> None:
        if connection is not None:  # None: it was invalidated before
            self._out.discard(connection)

    def cut(self) -> None:
        """End every connection in use from this side: whoever waits for an answer on one gets `unavailable`."""
        for connection in tuple(self._out):
            with contextlib.suppress(OSError, psycopg.Error):  # it may end by itself at this moment
                line = socket.socket(fileno=os.dup(connection.pgconn.socket))
                line.shutdown(socket.SHUT_RDWR)
                line.close()

    def close(self) -> None:
        """Return every connection."""
        self.engine.dispose()

    @contextlib.contextmanager
    def connection(self) -> Generator[psycopg.Connection[Any]]:
        """A bare connection outside any organisation: sees no tenant rows, may call the definer functions."""
        with translated(), self._fresh() as connection:
            yield driver(connection)

    def ask(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of one statement outside any organisation, prepared: for what a call asks before it has a unit."""
        with translated(), self._fresh() as connection:
            wire = _wire(connection)
            return wire.rows(wire.run([(statement, parameters)])[0])

    def organisations(self, work: str) -> list[str]:
        """Ids of the organisations with work of a kind: `outbox` those with messages due, any other word all."""
        with self.as_server() as conn:
            return [str(row[0]) for row in conn.execute("select ops.due_orgs(%s)", (work,))]

    @contextlib.contextmanager
    def as_server(self) -> Generator[psycopg.Connection[Any]]:
        """A transaction of the server's own work: sees no tenant rows, may ask what tells of every organisation."""
        with self.connection() as conn, conn.transaction():
            conn.execute("select set_config('app.unit', %s, true)", (self._proof(conn, _SERVER),))
            yield conn

    @contextlib.contextmanager
    def transaction(
        self, org_id: str, *, read_only: bool = False, durable: bool = True
    ) -> Generator["Transaction"]:
        """A transaction as `org_id`. Leaving without `commit()` rolls back.

        `durable=False`: its commit does not wait for the disk. A crash of PostgreSQL may forget it, unless somebody has
        been shown what it wrote (`Transaction.settle`), or was told of a later one.
        """
        with translated(), self._fresh() as connection:
            flush = driver(connection).info.server_version >= _FLUSH_SINCE
            opening = self._opening(driver(connection), org_id, read_only, flush)
            flushed = flush and durable and not read_only
            transaction = Transaction(connection, opening, self._proof, flush=flushed, by_hand=flush)
            transaction.writing = lambda: (self._opening(driver(connection), org_id, False, flush), flush)
            try:
                yield transaction
            finally:
                transaction.close()

    def _opening(
        self, conn: psycopg.Connection[Any], org_id: str, read_only: bool, flush: bool
    ) -> "list[Statement]":
        # Where the log can be flushed by hand, the commit itself does not wait for it: the organisation's ledger
        # head is free again before the disk is asked, and commits of one organisation share a flush.
        local = ("off" if flush else "on", self._proof(conn, org_id))
        return [("begin read only" if read_only else "begin", ()), (_LOCAL, local)]

    def _proof(self, conn: psycopg.Connection[Any], org_id: str) -> str:
        """What `app.unit` must hold for this backend to be `org_id`."""
        if not _ORG.match(org_id):
            raise ValueError(f"not an organisation id: {org_id!r}")
        proof = hashlib.sha256(self._unit_key + f"{conn.info.backend_pid}:{org_id}".encode()).hexdigest()
        return f"{org_id} {proof}"

    @contextlib.contextmanager
    def _fresh(self) -> Generator[sa.Connection]:
        """A connection that answers: one that died with a restarted server is replaced before its first use."""
        if self.silent:
            raise unavailable()
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
        except BaseException as error:
            # Giving a lost connection back fails, too, and would put its own words in the place of this error.
            if isinstance(error, psycopg.OperationalError) or _lost(connection):
                connection.invalidate()
            raise
        finally:
            connection.close()


class Retry(Exception):
    """The verb lost a race it can win by starting over in a new unit; never leaves the runner."""


class Transaction:
    """One transaction. `commit` returns only when the write-ahead log is on disk.

    A statement whose answer nobody waits for travels with the next one that is asked, in one round trip: BEGIN with
    the first question, the last rows, moves and ledger lines with COMMIT. The order of statements stays the program's.
    All of them are prepared: their texts are few, and parsing and planning would cost more than most of them do.
    """

    def __init__(
        self, connection: sa.Connection, opening: list[Statement],
        proof: Callable[[psycopg.Connection[Any], str], str], *, flush: bool, by_hand: bool,
    ) -> None:  # fmt: skip
        self._connection = connection
        self._driver = driver(connection)
        self._wire = _wire(connection)
        self._proof = proof
        self._flush = flush
        self._by_hand = by_hand
        self._open = True
        self._sent = opening
        self.writing: Callable[[], tuple[list[Statement], bool]] | None = None

    def outlast(self) -> None:
        """Have the commit wait for the disk although the transaction was opened without that."""
        if not self._flush:
            self.send("select set_config('synchronous_commit', 'on', true)")

    def write_on(self) -> None:
        """End a reading transaction and go on with one that writes; both travel with what comes next."""
        if self.writing is None:
            raise RuntimeError("this transaction cannot go on")
        opening, self._flush = self.writing()
        self._sent += [("rollback", ()), *opening]

    @property
    def connection(self) -> sa.Connection:
        """SQLAlchemy's connection, with everything done that was sent before."""
        if self._sent:
            self._exchange_all()
        return self._connection

    @property
    def driver(self) -> psycopg.Connection[Any]:
        """psycopg's connection, likewise."""
        if self._sent:
            self._exchange_all()
        return self._driver

    def send(self, statement: str, parameters: Sequence[Any] = ()) -> None:
        """Do this before whatever comes next; it fails there. Raises `Retry` there for a key that a twin has taken."""
        self._sent.append((statement, parameters))

    def enter(self, org_id: str) -> None:
        """Be another organisation from the next statement on."""
        self.send("select set_config('app.unit', %s, true)", (self._proof(self._driver, org_id),))

    def gather(self, statement: str, head: tuple[Any, ...], item: Any) -> None:
        """Send a statement whose last parameter is a list, as JSON; for one `head` all is gathered in one statement."""
        for text, parameters in reversed(self._sent):
            if text == statement and tuple(parameters[:-1]) == head:
                parameters[-1].obj.append(item)
                return
        self.send(statement, (*head, Jsonb([item])))

    def ask(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows that a statement gives."""
        return self.ask_all([(statement, parameters)])[0]

    def ask_all(self, statements: Sequence[Statement]) -> list[list[tuple[Any, ...]]]:
        """The rows that each of several statements gives, in one round trip."""
        self._sent += statements
        return [self._wire.rows(result) for result in self._exchange_all()[-len(statements) :]]

    def commit(self, meanwhile: Callable[[], None] | None = None) -> None:
        """Make everything durable; raises when PostgreSQL rolled back instead.

        `meanwhile` runs while PostgreSQL does it, whatever comes out; it must not raise.
        """
        self.send("commit")
        if self._flush:
            self.send(_FLUSH)
        try:
            done = self._exchange_all(meanwhile)[-2 if self._flush else -1]
        except psycopg.OperationalError as error:
            if self._driver.closed:
                raise unknown_outcome() from error
            raise
        self._open = False
        if done.command_status == b"ROLLBACK":
            raise psycopg.OperationalError("the transaction had failed and was rolled back")

    def settle(self) -> None:
        """End a transaction that only read; returns once all that it may have seen is on the disk.

        Others are seen before they are there: where the log is flushed by hand, a commit does not wait for it.
        """
        self.send("rollback")
        if self._by_hand:
            self.send(_FLUSH_WHAT_IS_THERE)
        self._exchange_all()
        self._open = False

    def close(self) -> None:
        """Roll back what was not committed."""
        if self._open and not self._driver.closed:
            self._open = False
            if self._driver.info.transaction_status != pq.TransactionStatus.IDLE:
                # Not by psycopg, which drops all prepared statements then; nor by a prepared one, which may be gone.
                self._driver.pgconn.exec_(b"rollback")

    def _exchange_all(self, meanwhile: Callable[[], None] | None = None) -> list[pq.abc.PGresult]:
        """One round trip with all that was sent; the first that fails raises, and those behind it are not done."""
        statements, self._sent = self._sent, []
        try:
            with tracing.span("postgresql", statement_spans.attributes(statements) if tracing.on() else {}):
                return self._wire.run(statements, meanwhile)
        except pg.UniqueViolation as twin:
            raise Retry from twin


def _wire(connection: sa.Connection) -> Exchange:
    """The exchange of a connection, with what it has prepared: it lives as long as the connection in the pool."""
    found: Exchange | None = connection.info.get(_WIRE)
    if found is None:
        found = connection.info[_WIRE] = Exchange(driver(connection))
    return found


def driver(connection: sa.Connection) -> psycopg.Connection[Any]:
    """The psycopg connection below a SQLAlchemy one."""
    found = connection.connection.driver_connection
    assert isinstance(found, psycopg.Connection)
    return found  # pyright: ignore[reportUnknownVariableType]


def _lost(connection: sa.Connection) -> bool:
    """Whether the driver's connection is gone and SQLAlchemy does not know it yet."""
    return not connection.closed and not connection.invalidated and driver(connection).closed


def _peer_closed(conn: psycopg.Connection[Any]) -> bool:
    """Whether the server hung up while the connection lay in the pool (an idle socket that is readable)."""
    idle = select.poll()  # select.select knows no descriptor beyond 1,023
    idle.register(conn.pgconn.socket, select.POLLIN)
    return bool(idle.poll(0))


@contextlib.contextmanager
def translated() -> Generator[None]:
    """Faults of the database as problems a caller can act on; programming errors pass unchanged."""
    try:
        yield
    except DBAPIError as error:
        if isinstance(error.orig, pg.SerializationFailure):
            raise Retry from error
        problem = as_problem(error.orig)
        if problem is None:
            raise
        raise problem from error
    except pg.SerializationFailure as error:
        raise Retry from error
    except psycopg.Error as error:
        problem = as_problem(error)
        if problem is None:
            raise
        raise problem from error
    except PoolTimeout as error:
        raise busy() from error


def as_problem(error: BaseException | None) -> Problem | None:
    """The problem a database error means to a caller, or None when it is a fault of ours."""
    if isinstance(error, pg.LockNotAvailable | pg.DeadlockDetected):
        return busy()
    if isinstance(error, pg.DiskFull):
        return Problem(
            "storage_full", "the database has no room left", hint="Free disk space and repeat the call."
        )
    if isinstance(error, pg.InsufficientResources):
        return busy()
    if isinstance(error, psycopg.Error) and error.sqlstate == _CONFLICT:
        said = error.diag
        return Problem(
            "conflict", said.message_primary or "it stands otherwise by now", hint=said.message_hint or ""
        )
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return unavailable()
    return None


def unavailable() -> Problem:
    """The database is away, or says nothing."""
    return Problem(
        "unavailable", "the database did not answer", hint="Nothing was changed; repeat the call shortly.",
        retry_after_s=1,
    )  # fmt: skip


def unknown_outcome() -> Problem:
    """The connection broke after COMMIT was sent: the change is kept or not, and nobody can say which."""
    return Problem(
        "unavailable", "the database went away while it was saving",
        hint="The change may have been kept: look at the log first, or repeat the call with the same idempotency_key.",
        retry_after_s=1,
    )  # fmt: skip


def busy() -> Problem:
    """Somebody else holds what the call needs."""
    return Problem("busy", "somebody else is writing here", hint="Repeat the call.", retry_after_s=0.2)
