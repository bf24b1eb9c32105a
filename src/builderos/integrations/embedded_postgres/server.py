"""One server over one data folder: made, brought up whatever state the last one was left in, asked, ended."""

import hashlib
import os
import shlex
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from psycopg import pq
from psycopg.conninfo import make_conninfo

from builderos.core.problems import Problem
from builderos.integrations.embedded_postgres import processes
from builderos.integrations.embedded_postgres.account import Account
from builderos.integrations.embedded_postgres.files import sync_folder, try_lock
from builderos.integrations.embedded_postgres.layout import PORT, Layout, socket_folder, socket_of

_LOG_MAX: Final = 16 * 1024 * 1024
_KEPT_OUT: Final = ("already exists", "still in use")


def initialise(layout: Layout, account: Account, programs: Path, lock: int, *, durable: bool) -> None:
    """Make the data folder beside its place and rename it: a killed initdb leaves nothing that looks whole.

    The password file must be there. Raises Problem `unavailable` or `storage_full` with what initdb said.
    """
    account.own(layout.password_file)
    if layout.fresh.exists():
        shutil.rmtree(layout.fresh)
    layout.fresh.mkdir(mode=0o700)
    account.own(layout.fresh)
    options = ["-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", "--locale-provider=builtin"]
    options += ["--builtin-locale=C.UTF-8", "--no-instructions", *([] if durable else ["--no-sync"])]
    # Relative names, because the programs hand them to a shell. initdb inherits the lock: when its starter is
    # killed it goes on, and the next starter must wait until it has stopped writing.
    result = account.run(
        [programs / "initdb", "-D", layout.fresh.name, f"--pwfile={layout.password_file.name}", *options],
        cwd=layout.home,
        pass_fds=[lock],
    )
    if result.returncode:
        shutil.rmtree(layout.fresh)
        raise _broken("The database could not be initialised", result.stderr)
    layout.fresh.rename(layout.data)
    sync_folder(layout.home)


@dataclass(frozen=True, slots=True)
class Launch:
    """What it takes to run a server; `deadline` in seconds of `time.monotonic()`."""

    layout: Layout
    account: Account
    programs: Path
    settings: Mapping[str, str]
    deadline: float


def bring_up(launch: Launch) -> Path:
    """Start the server, whatever state the last one was left in; return the folder of its socket.

    Raises Problem `unavailable` or `storage_full` where it cannot start or is not ready at the deadline.
    """
    data, label = launch.layout.data, label_of(launch.layout)
    own_folder = socket_folder(launch.layout, label.rpartition("-")[2], launch.account)
    waits_for = "there was no time to start it"
    while True:
        found = processes.running_server(data, label)
        socket_dir = found.socket_dir if found else None
        if socket_dir is not None and accepts(socket_dir):
            return socket_dir
        if time.monotonic() > launch.deadline:
            raise _broken(f"PostgreSQL is not ready: {waits_for}", _log_since(launch.layout, 0))
        if found is None:
            waits_for = _try_to_run(launch, own_folder, label)
        elif found.ready and socket_dir is not None and not socket_of(socket_dir).exists():
            # Somebody cleaned up the runtime folder. Nobody can ever connect to that server again.
            end(found.pid, label, launch.deadline)
        else:
            waits_for = "it is still starting, maybe recovering from a crash"
        time.sleep(0.005)


def end(pid: int, label: str, deadline: float) -> None:
    """Shut the server down, all written to disk. Raises Problem `unavailable` when that takes too long."""
    if not processes.end_server(pid, label, max(1.0, deadline - time.monotonic())):
        raise Problem(
            "unavailable",
            f"PostgreSQL (process {pid}) did not stop in time.",
            hint="Try again; nothing is lost.",
        )


def label_of(layout: Layout) -> str:
    """The label of the data folder's processes: from the number initdb gave it (first field of pg_control).

    A new data folder under an old path thus has another one. Raises Problem `unavailable` where the file is
    missing.
    """
    try:
        with (layout.data / "global" / "pg_control").open("rb") as control:
            return f"builderos-{hashlib.sha256(control.read(8)).hexdigest()[:8]}"
    except FileNotFoundError as missing:
        raise Problem(
            "unavailable",
            f"{layout.data} is not a whole PostgreSQL data folder: global/pg_control is missing.",
            hint="Restore the folder from a backup, or move it away to begin with an empty database.",
        ) from missing


def accepts(socket_dir: Path) -> bool:
    """Whether a server answers there and takes connections (libpq's PQping, which needs no password)."""
    if not socket_of(socket_dir).exists():
        return False
    target = make_conninfo(
        host=str(socket_dir), port=PORT, user="postgres", dbname="postgres", connect_timeout=5
    )
    return pq.PGconn.ping(target.encode()) == pq.Ping.OK


def _try_to_run(launch: Launch, socket_dir: Path, label: str) -> str:
    """Run the server unless something of an earlier one is left; return why it may not be ready after that.

    The server's processes inherit a lock on the data folder. It is free when the last of them has died, and
    it is seen from every container that shares the folder; process ids are not.
    """
    descriptor = os.open(launch.layout.data, os.O_RDONLY)
    try:
        if try_lock(descriptor):
            return _run(launch, socket_dir, label, descriptor)
    finally:
        os.close(descriptor)
    processes.end_leftovers(label)
    return "another server, perhaps in another container, still uses the data folder"


def _run(launch: Launch, socket_dir: Path, label: str, lock: int) -> str:
    """Run the server and wait until it is ready or the time is up; return why it may not be ready."""
    layout, socket = launch.layout, socket_of(socket_dir)
    # Nobody holds the lock: what these files name is dead, a zombie or a process of somebody else.
    for stale in (layout.data / "postmaster.pid", socket, Path(f"{socket}.lock")):
        stale.unlink(missing_ok=True)
    folders = '"' + str(socket_dir).replace('"', '""') + '"'  # the parameter is a list
    ours = {"unix_socket_directories": folders, "cluster_name": label}
    given = {**launch.settings, **ours, processes.DATA_PARAMETER: str(layout.data)}
    options = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in given.items())
    begin = _open_log(layout, launch.account)
    wait_s = max(1, int(launch.deadline - time.monotonic()))
    command = [launch.programs / "pg_ctl", "-D", layout.data.name, "-l", layout.log_file.name, "-o", options]
    # pg_ctl gives the server a session and a parent of its own: it survives us, our terminal and our signals.
    result = launch.account.run(
        [*command, "-w", "-t", str(wait_s), "start"],
        cwd=layout.home,
        timeout_s=wait_s + 10,
        pass_fds=[lock],
    )
    if result.returncode == 0 or processes.running_server(layout.data, label):
        return "it is recovering from a crash, or ended right after its start"
    output = _log_since(layout, begin) or result.stderr
    if not any(words in output for words in _KEPT_OUT):
        raise _broken("PostgreSQL did not start", output)
    return "a server that was not started by BuilderOS still uses the data folder"


def _open_log(layout: Layout, account: Account) -> int:
    """Prepare the log, keeping at most one older one; return where the coming start begins in it."""
    log = layout.log_file
    if log.exists() and log.stat().st_size > _LOG_MAX:
        log.replace(log.with_name("pg.log.1"))
    log.touch(0o600)
    account.own(log)
    return log.stat().st_size


def _log_since(layout: Layout, begin: int) -> str:
    if not layout.log_file.exists():  # the server was started by hand
        return ""
    with layout.log_file.open("rb") as log:
        log.seek(max(begin, layout.log_file.stat().st_size - 2000))
        return log.read().decode(errors="replace").strip()


def _broken(what: str, output: str) -> Problem:
    if "No space left on device" in output:
        return Problem("storage_full", f"{what}: {output}", hint="Free disk space and try again.")
    return Problem(
        "unavailable", f"{what}: {output}", hint="The lines quoted here, from pg.log, name the cause."
    )
