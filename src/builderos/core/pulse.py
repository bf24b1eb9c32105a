"""Notices a database that is there and says nothing: a stopped process, a dead network, a disk that hangs.

A driver waits for an answer as long as it takes, and with it the request and its thread. So one connection asks every
few seconds; where no answer comes in time, all others are cut, which their requests see as a lost connection, and new
requests are refused at once until there is an answer again.
"""

import logging
import select
import threading
import time
from typing import Final

import psycopg
import sqlalchemy as sa
from psycopg import pq

from .database import Database

log = logging.getLogger("builderos.core")
PAUSE_S: Final = 1.0


class Pulse:
    """Asks in a thread of its own, from `start` to `stop`."""

    def __init__(self, database: Database, patience_s: float) -> None:
        url = sa.make_url(database.url).set(drivername="postgresql")
        self._url = url.render_as_string(hide_password=False)
        self._database = database
        self._patience_s = patience_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="database-pulse", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more; nobody waits for an answer that is under way."""
        self._stopping.set()

    def _run(self) -> None:
        connection: psycopg.Connection | None = None
        while not self._stopping.wait(PAUSE_S):
            answered = False
            try:
                if connection is None or connection.broken:
                    connection = self._connect()
                answered = self._answers(connection.pgconn)
            except (psycopg.Error, OSError, ValueError) as error:  # the last two: its socket is gone
                # Refused at once is no silence: requests hear the same, and have their own words for it.
                answered = not isinstance(error, psycopg.errors.ConnectionTimeout)
                connection = None
            self._judge(answered)
            if not answered and connection is not None:
                connection.pgconn.finish()
                connection = None
        if connection is not None:
            connection.close()

    def _connect(self) -> psycopg.Connection:
        wait_s = max(2, round(self._patience_s))  # libpq takes less for two
        return psycopg.connect(
            self._url, autocommit=True, connect_timeout=wait_s, application_name="builderos-pulse"
        )

    def _answers(self, connection: pq.abc.PGconn) -> bool:
        """Whether the answer to a question comes within the patience. Raises where the connection is lost."""
        connection.send_query(b"select 1")
        ready, until = select.poll(), time.monotonic() + self._patience_s
        ready.register(connection.socket, select.POLLIN)
        while True:
            while connection.is_busy():
                left_ms = round((until - time.monotonic()) * 1000)
                if left_ms <= 0 or not ready.poll(left_ms):
                    return False
                connection.consume_input()
            if connection.get_result() is None:
                return True

    def _judge(self, answered: bool) -> None:
        if answered and self._database.silent:
            log.warning("the database answers again")
            self._database.silent = False
        elif not answered and not self._stopping.is_set():
            if not self._database.silent:
                log.error("the database does not answer; what waits for it is given up")
            self._database.silent = True
            self._database.cut()
