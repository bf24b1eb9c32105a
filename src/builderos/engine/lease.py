"""Which executors live: each holds an advisory lock in a session of its own, which dies with the process.

The engine's library recovers only the work of an executor that comes back under its own id. Here every process takes
over the work of those whose lock is free. A lost session alone proves little (a restart of PostgreSQL ends all of
them at once), so a lock must be found free for a while before somebody's work is taken; the live ones have taken
theirs again by then.

A process that is frozen keeps its connections, and would keep its lock: PostgreSQL ends the session of a lease that
says nothing for `SILENCE_S`. Whoever wakes up after that is not `sure` of itself, from the first moment on, until it
has its lock again and knows what was taken from it.
"""

import logging
import threading
import time
import zlib
from collections.abc import Callable
from typing import Any, Final

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import SQLAlchemyError

log = logging.getLogger("builderos.engine")
INTERVAL_S: Final = 0.25
DOUBT_S: Final = 0.5
SILENCE_S: Final = 4.0
PATIENCE_S: Final = 2.0
_AGAIN_S: Final = 0.1
_NAMESPACE: Final = 0x626F73  # first half of the two-part lock key: nobody else's advisory locks


class Alive(psycopg.OperationalError):
    """Somebody else is this executor."""


class Lease:
    """The lock of one executor, and the watch over the locks of the others.

    `executors` names the ids that own unfinished work, None: those in the library's table; `take_over` makes the work
    of one of them ours; `regained` is called after each interruption, when the lock is ours again: others may have
    taken what was ours.
    """

    def __init__(
        self, conninfo: str, me: str, executors: Callable[[], set[str]] | None, take_over: Callable[[str], None],
        *, interval_s: float = INTERVAL_S, doubt_s: float = DOUBT_S, silence_s: float = SILENCE_S,
        regained: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self._conninfo = conninfo
        self._me = me
        self._executors = executors
        self._take_over = take_over
        self._interval_s = interval_s
        self._doubt_s = doubt_s
        self._silence_s = silence_s
        self._regained = regained
        self._sure_until = 0.0
        self._stopping = threading.Event()
        self._suspects: dict[str, float] = {}
        self._connection: psycopg.Connection[Any] | None = None
        self._thread = threading.Thread(target=self._watch, name="engine-lease", daemon=True)

    @property
    def sure(self) -> bool:
        """Whether nobody can have taken our work: the lock was seen to be ours a moment ago."""
        return time.monotonic() < self._sure_until

    def start(self) -> None:
        """Take the lock and watch. Raises `psycopg.OperationalError` where the database cannot be reached, or somebody
        holds the lock for longer than it takes to take over the work of the dead.
        """
        self._connection = self._patiently()
        self._thread.start()

    def stop(self) -> None:
        """Give the lock back: from now on others may take over what is unfinished."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._connection is not None:
            self._connection.close()

    def _patiently(self) -> psycopg.Connection[Any]:
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self._locked_session()
            except Alive:
                if time.monotonic() > until:
                    raise
                time.sleep(PATIENCE_S / 20)

    def _locked_session(self) -> psycopg.Connection[Any]:
        asked_at = time.monotonic()
        connection = psycopg.connect(
            self._conninfo, autocommit=True, connect_timeout=5, application_name="builderos-lease",
            # The lock of a host that vanished is free when its connection is given up: after 11 s instead of hours.
            keepalives_idle=5, keepalives_interval=2, keepalives_count=3,
            options=f"-c idle_session_timeout={int(self._silence_s * 1000)}",
        )  # fmt: skip
        if not _ask(connection, "select pg_catalog.pg_try_advisory_lock(%s, %s)", self._me):
            connection.close()
            raise Alive(f"the executor {self._me} is alive in another session")
        self._confirm(asked_at)
        return connection

    def _confirm(self, asked_at: float) -> None:
        self._sure_until = asked_at + self._silence_s * 0.75

    def _watch(self) -> None:
        while not self._stopping.wait(self._interval_s if self._connection is not None else _AGAIN_S):
            try:
                self._look(self._connection or self._regain())
            except (psycopg.Error, SQLAlchemyError) as error:
                log.warning("the engine's lease is interrupted: %s", type(error).__name__)
                self._drop()
            except Exception:  # a fault of the library's own must not end the watch: it looks again later
                log.exception("the engine could not look after other executors")

    def _regain(self) -> psycopg.Connection[Any]:
        connection = self._locked_session()
        self._sure_until = 0.0  # until it is known what was taken meanwhile
        try:
            self._regained()
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._sure_until = 0.0
        self._suspects = {}

    def _look(self, connection: psycopg.Connection[Any]) -> None:
        asked_at = time.monotonic()
        # Notices a session that died while nothing was to do, and keeps this one from being ended for its silence.
        connection.execute("select pg_catalog.pg_backend_pid()")
        self._confirm(asked_at)
        owners = _owners(connection) if self._executors is None else self._executors()
        free = {name for name in owners - {self._me} if self._is_free(connection, name)}
        self._suspects = {name: self._suspects.get(name, asked_at) for name in free}
        for name in sorted(free):
            if asked_at - self._suspects[name] < self._doubt_s:
                continue
            if _ask(connection, "select pg_catalog.pg_try_advisory_lock(%s, %s)", name):
                try:
                    self._take_over(name)
                finally:
                    _ask(connection, "select pg_catalog.pg_advisory_unlock(%s, %s)", name)

    @staticmethod
    def _is_free(connection: psycopg.Connection[Any], name: str) -> bool:
        """Looked up, not tried: to hold the lock for a moment would refuse an owner who starts in that moment."""
        return not _ask(
            connection,
            "select exists (select from pg_catalog.pg_locks where locktype = 'advisory' and granted and objsubid = 2 "
            "and database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database()) "
            "and classid::int8 = %s and objid::int8 = %s::int8 & 4294967295)",
            name,
        )


def _ask(connection: psycopg.Connection[Any], question: str, name: str) -> bool:
    row = connection.execute(question, (_NAMESPACE, zlib.crc32(name.encode()) - 2**31)).fetchone()  # pyright: ignore[reportArgumentType]
    return row is not None and bool(row[0])


_WORKFLOWS: Final = sa.table("workflow_status", sa.column("executor_id"), sa.column("status"), schema="dbos")
_OWNERS: Final = str(
    sa.select(_WORKFLOWS.c.executor_id)
    .distinct()
    .where(_WORKFLOWS.c.status == "PENDING", _WORKFLOWS.c.executor_id.is_not(None))
    .compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})
)


def _owners(connection: psycopg.Connection[Any]) -> set[str]:
    """Asked four times a second by every process: the library's own way to ask costs ten times as much."""
    return {str(name) for (name,) in connection.execute(_OWNERS.encode())}
