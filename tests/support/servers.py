"""Talking to a server that a test starts for itself."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import psycopg

from builderos.integrations.embedded_postgres import service

PATIENCE_S: Final = 120
"""How long a test waits for what must come: a machine may be ten times slower, and run four tests at once."""
_PRELUDE = (
    "import os, signal, sys; from pathlib import Path;"
    "from builderos.integrations.embedded_postgres import service; home = Path(sys.argv[1]);"
)


def quickly(home: Path, **options: Any) -> service.Cluster:
    """A server for tests that do not look at durability."""
    return service.start(home, **{"wait_s": PATIENCE_S, "durable": False, **options})


def ask(cluster: service.Cluster, query: str) -> Any:
    """The one value that the query gives to the superuser."""
    with psycopg.connect(cluster.superuser_conninfo, autocommit=True) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def pid_of(home: Path) -> int:
    """The process id of the server of this home."""
    pid = service.status(home).pid
    assert pid is not None
    return pid


def until(condition: Callable[[], bool], wait_s: float = PATIENCE_S) -> None:
    """Wait for a condition that must come true."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() < begun + wait_s, "it did not happen"
        pause(begun)


def pause(begun: float) -> None:
    """Wait before looking again, a fifth as long as was waited since `begun`.

    Looking costs as much as what is waited for, and takes its time from it.
    """
    time.sleep(min(0.1, max(0.005, (time.monotonic() - begun) / 5)))


def python(
    home: Path, statements: str, within: Sequence[str | Path] = (), **options: Any
) -> subprocess.Popen[str]:
    """Run statements in a Python of its own, started by the command `within`; `service` and `home` are there."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    argv = [*within, sys.executable, "-c", _PRELUDE + statements, str(home)]
    return subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True, **options)
