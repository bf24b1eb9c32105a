"""Engines for tests: in this process, and in processes of their own that may be killed.

`main` runs one until its standard input ends. What its functions do is one line each in the file `log`, written at
once, so that a killed process has told what it did.
"""

import os
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from builderos import app as root
from builderos.core.context import Context
from builderos.core.database import Database, DatabaseKeys
from builderos.core.keys import ServerKeys
from builderos.core.settings import load_settings
from builderos.core.unit import Unit
from builderos.engine import outbox
from builderos.engine.service import Engine

from .databases import SECRET, FreshDatabase
from .forks import Forked


def assembled(home: Path, keys: DatabaseKeys) -> Context:
    """Everything a server has, without doors."""
    home.mkdir(parents=True, exist_ok=True)
    return root.assemble(load_settings(home=home), ServerKeys(SECRET), Database(keys, pool_size=6))


@dataclass
class Bench:
    """One organisation, an engine that is not started, and what its functions did."""

    context: Context
    org_id: str
    engine: Engine
    handlers: outbox.Handlers
    conninfo: str
    done: list[str] = field(default_factory=list[str])

    def note(self, _context: Context, message: outbox.Message) -> None:
        """A handler that remembers the key."""
        self.done.append(message.key)

    def rows(self, columns: str = "key, attempts, done_at is not null") -> list[tuple[Any, ...]]:
        """What lies in the outbox."""
        return select(self.conninfo, f"select {columns} from ops.outbox order by id")

    def run(self) -> None:
        """Start the engine and wait until it runs."""
        self.engine.start()
        assert self.engine.wait(120)


@contextmanager
def bench(home: Path, database: FreshDatabase) -> Generator[Bench]:
    """An engine of this process; stopped afterwards."""
    context = assembled(home, database.keys)
    handlers = outbox.Handlers()
    engine = Engine(database.engine_url, context, handlers=handlers)
    it = Bench(context, root.ensure_default_org(context), engine, handlers, database.superuser_conninfo)
    try:
        yield it
    finally:
        engine.stop(5)
        context.get(Database).close()


def select(conninfo: str, query: str) -> list[tuple[Any, ...]]:
    """Rows as the superuser sees them."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        return connection.execute(query).fetchall()  # type: ignore[arg-type]


class Worker:
    """An engine in a process of its own."""

    def __init__(self, home: Path, database: FreshDatabase, log: Path, **options: Any) -> None:
        config = {
            "home": str(home), "url": database.keys.url, "unit_key": database.keys.unit_key.hex(),
            "engine_url": database.engine_url, "log": str(log), **options,
        }  # fmt: skip
        (its_input, ours_in), (ours_out, its_output) = os.pipe(), os.pipe()
        streams = (its_input, its_output, 2)
        self.process = Forked(main, config, streams=streams, cwd=Path(__file__).parents[2])
        os.close(its_input)
        os.close(its_output)
        self.stdin, self.stdout = os.fdopen(ours_in, "w"), os.fdopen(ours_out)

    def wait_running(self) -> None:
        """Return once its engine runs."""
        assert self.stdout.readline() == "running\n"

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        """Let it stop as a server does; its exit code."""
        self.stdin.close()
        return self.process.wait(120)


@contextmanager
def workers(*started: Worker) -> Iterator[None]:
    """End the processes whatever happens."""
    try:
        yield
    finally:
        for worker in started:
            worker.kill()


def lines(log: Path) -> list[str]:
    """What the functions of all workers did so far."""
    return log.read_text().splitlines() if log.exists() else []


class Acts:
    """The functions that a worker enrols: they tell what they do, and some end the process in the middle of it."""

    def __init__(self, log: Path, options: dict[str, Any]) -> None:
        self._log = log
        self._dies_at: str = options.get("dies_at", "")

    def tell(self, line: str) -> None:
        """One line, in one write, on disk before the process can die."""
        with self._log.open("ab", buffering=0) as file:
            file.write(line.encode() + b"\n")
        if line == self._dies_at:
            os._exit(9)

    def deliver(self, _context: Context, message: outbox.Message) -> None:
        """A handler: begins, has its effect, returns."""
        self.tell(f"begin {message.key}")
        self.tell(f"effect {message.key}")

    def visit(self, _context: Context, org_id: str) -> None:
        """A scheduled function of each organisation."""
        self.tell(f"visit {org_id}")

    def tick(self, _context: Context) -> None:
        """A scheduled function of the server."""
        self.tell(f"tick {time.time():.3f}")


def main(options: dict[str, Any]) -> None:
    """Run one engine until the standard input ends."""
    context = assembled(
        Path(options["home"]), DatabaseKeys(options["url"], bytes.fromhex(options["unit_key"]))
    )
    acts = Acts(Path(options["log"]), options)
    handlers = outbox.Handlers()
    handlers.enrol("note", acts.deliver)
    engine = Engine(options["engine_url"], context, handlers=handlers)
    if "tick" in options:
        engine.cron("tick", options["tick"], acts.tick, each_org=False)
    engine.cron("visit", options.get("visit", "0 0 1 1 *"), acts.visit)
    engine.start()
    assert engine.wait(120)
    print("running", flush=True)
    for line in sys.stdin:
        engine.trigger(line.strip())
    sys.exit(0 if engine.stop(120) else 1)


def put(unit: Unit, *keys: str) -> None:
    """Messages for the handler `note`."""
    for key in keys:
        outbox.put(unit, "note", key, {"n": key})
