"""Words between the processes of one database: LISTEN on one connection, NOTIFY within a unit.

A word only wakes. It may be lost with its connection, so whoever listens looks at the rows again when it is back.
"""

import json
import logging
import threading
from collections.abc import Callable
from typing import Any, Final

import psycopg

from builderos.core.listening import listen
from builderos.core.unit import Unit

log = logging.getLogger("builderos.engine")
CHANNEL: Final = "builderos_engine"
_PAUSE_S: Final = 1.0
_TURN_S: Final = 5.0


def tell(unit: Unit, word: str, about: str) -> None:
    """Have every process hear `word` about something once this unit is durable."""
    unit.send("pg_notify", CHANNEL, json.dumps([word, about]))


class Listener:
    """A thread that hears the words. `heard(word, about)` must not block; `back()` is called after each connecting."""

    def __init__(self, conninfo: str, heard: Callable[[str, str], None], back: Callable[[], None]) -> None:
        self._conninfo = conninfo
        self._heard = heard
        self._back = back
        self._stopping = threading.Event()
        self._connection: psycopg.Connection[Any] | None = None
        self._thread = threading.Thread(target=self._main, name="engine-words", daemon=True)

    def start(self) -> None:
        """Begin to listen, in the background."""
        self._thread.start()

    def stop(self) -> None:
        """End listening; does not wait for the thread, which may sit in a connection that says nothing."""
        self._stopping.set()
        connection = self._connection
        if connection is not None:
            connection.close()

    def _main(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except psycopg.Error as error:
                if not self._stopping.is_set():
                    log.warning("words between processes are not heard: %s", type(error).__name__)
            except Exception:  # a fault in whoever hears must not make this process deaf
                log.exception("a word was not understood")
            self._stopping.wait(_PAUSE_S)

    def _listen(self) -> None:
        with psycopg.connect(
            self._conninfo, autocommit=True, connect_timeout=5, application_name="builderos-words",
            keepalives_idle=5, keepalives_interval=2, keepalives_count=3,
        ) as connection:  # fmt: skip
            self._connection = connection
            connection.execute(listen(CHANNEL))
            self._back()
            while not self._stopping.is_set():
                for notice in connection.notifies(timeout=_TURN_S):
                    word, about = json.loads(notice.payload)
                    self._heard(str(word), str(about))
