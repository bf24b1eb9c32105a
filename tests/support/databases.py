"""Fresh, migrated databases by copying a template: some tens of milliseconds each."""

import contextlib
import fcntl
import hashlib
import json
import os
import uuid
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import sqlalchemy as sa
from psycopg import sql
from psycopg.conninfo import make_conninfo

from builderos.core.database import DatabaseKeys
from builderos.core.migrations import migrate
from builderos.integrations.embedded_postgres import service

# Roles belong to the whole server and their passwords come from this key: every test of a run must use this one.
SECRET = b"the secret key of every server that tests start"
_TEMPLATE = "template"
EXTERNAL = os.environ.get("BUILDEROS_TEST_DATABASE_URL", "")


@dataclass(frozen=True)
class FreshDatabase:
    """A migrated database of one test. `keys` reach it as the restricted role, `engine_url` as the engine's."""

    name: str
    superuser_conninfo: str
    keys: DatabaseKeys
    engine_url: str


@dataclass(frozen=True)
class Databases:
    """The databases of one server. `folder` keeps what the processes of a test run tell each other."""

    home: Path
    durable: bool
    folder: Path

    def server(self) -> service.Cluster:
        """The running server; started again when a test killed it."""
        limits = {} if self.durable else {"max_wal_size": "256MB"}  # it may lie in memory
        return service.start(self.home, wait_s=120, durable=self.durable, extra_settings=limits)

    def superuser(self, name: str = "postgres") -> str:
        """The administrator's conninfo for a database; BUILDEROS_TEST_DATABASE_URL names another PostgreSQL."""
        if EXTERNAL and not self.durable:
            return make_conninfo(EXTERNAL, dbname=name)
        return make_conninfo(self.server().superuser_conninfo, dbname=name)

    @property
    def _prefix(self) -> str:
        """How the databases of this test run are called: several may run on one external server."""
        return prefix_of(self.folder)

    @contextlib.contextmanager
    def fresh(self) -> Generator[FreshDatabase]:
        """A new database, dropped afterwards whoever is still connected."""
        made = self._template()
        name = f"{self._prefix}{uuid.uuid4().hex[:12]}"
        self._run(f"create database {name} template {self._prefix}{_TEMPLATE} strategy file_copy")
        try:
            keys = DatabaseKeys(_moved(made["url"], name), bytes.fromhex(made["unit_key"]))
            yield FreshDatabase(name, self.superuser(name), keys, _moved(made["engine_url"], name))
        finally:
            self._run(f"drop database if exists {name} with (force)")

    def _template(self) -> dict[str, str]:
        """Migrate once per run, whichever process comes first; the others read what it wrote."""
        note = self.folder / f"{self.home.name}.template.json"
        if note.exists():
            return json.loads(note.read_text())
        with (self.folder / "template.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not note.exists():
                draft = note.with_suffix(".new")
                draft.write_text(json.dumps(self._make_template()))
                draft.rename(note)
        return json.loads(note.read_text())

    def _make_template(self) -> dict[str, str]:
        name = f"{self._prefix}{_TEMPLATE}"
        self._run(f"drop database if exists {name} with (force)")  # half made by a process that was killed
        self._run(f"create database {name}")
        made = migrate(self.superuser(name), SECRET)
        # One that somebody is connected to cannot be copied.
        self._run(f"alter database {name} with allow_connections false")
        return {"url": made.keys.url, "unit_key": made.keys.unit_key.hex(), "engine_url": made.engine_url}

    def _run(self, statement: str) -> None:
        with psycopg.connect(self.superuser(), autocommit=True) as connection:
            connection.execute(statement)


def prefix_of(folder: Path) -> str:
    """What the names of all databases begin with that a test run with this folder makes."""
    return f"t_{hashlib.sha256(folder.name.encode()).hexdigest()[:8]}_"


def forget(folder: Path) -> None:
    """Drop what a test run that is over left on an external server; our own servers go with their folders."""
    if not EXTERNAL:
        return
    with psycopg.connect(EXTERNAL, autocommit=True) as connection:
        mine = "select datname from pg_database where pg_catalog.starts_with(datname, %s)"
        for (name,) in connection.execute(mine, (prefix_of(folder),)).fetchall():
            connection.execute(
                sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))
            )


def _moved(url: str, name: str) -> str:
    return sa.make_url(url).set(database=name).render_as_string(hide_password=False)


def run_name() -> str:
    """The same for all workers of one test run, another one for every run."""
    return (os.environ.get("PYTEST_XDIST_TESTRUNUID") or uuid.uuid4().hex)[:10]  # sockets need short paths
