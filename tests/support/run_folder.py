"""One folder for all processes of a test run. The last one to leave ends the servers in it and deletes it.

Whoever uses the folder holds a shared lock on a file beside it; locks die with their holders. A process of its own
(`reaper`) waits for the exclusive lock, so that nothing is left behind when every test process was killed.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

from builderos.integrations.embedded_postgres import service

from . import databases

# Not the user's TMPDIR: it may be closed to the server's system user, or too long for a socket.
ON_DISK = Path("/tmp")
_MEMORY = Path("/dev/shm")
_MEMORY_NEEDED = 2 * 1024**3


def in_memory() -> Path:
    """A parent for what need not survive: making the 300 files of a database takes a tenth of the time there."""
    if not os.access(_MEMORY, os.W_OK) or os.statvfs(_MEMORY).f_flag & os.ST_NOEXEC:
        return ON_DISK
    return _MEMORY if shutil.disk_usage(_MEMORY).free > _MEMORY_NEEDED else ON_DISK


@contextlib.contextmanager
def run_folder(run: str, parent: Path = ON_DISK) -> Generator[Path]:
    """The folder of the test run `run` below `parent`, enterable for every user."""
    folder = parent / f"builderos-test-{os.geteuid()}-{run}"
    users = _take(folder, fcntl.LOCK_SH)
    try:
        if _make(folder):
            _start_reaper(folder)
        yield folder
    finally:
        os.close(users)
        _leave(folder)


def clean_up(folder: Path, lock: int = fcntl.LOCK_EX) -> None:
    """End every server below `folder` and delete it, once nobody uses it any more.

    With LOCK_NB in `lock` raises BlockingIOError where somebody does.
    """
    alone = _take(folder, lock)
    try:
        end_homes(folder)
        databases.forget(folder)
        shutil.rmtree(folder, ignore_errors=True)
        _lock_file(folder).unlink()
    finally:
        os.close(alone)


def end_homes(folder: Path) -> None:
    """Stop the servers of all state folders below `folder`: a server whose files are deleted lingers for a minute."""
    for pid_file in list(folder.rglob("pg18/postmaster.pid")):
        service.stop(pid_file.parent.parent)


def _leave(folder: Path) -> None:
    """Clean up as the last user; or wait for the reaper that was faster; or leave it to those who stay."""
    for _ in range(3):  # others may just be looking, as we do
        try:
            clean_up(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            with contextlib.suppress(FileNotFoundError):
                descriptor = os.open(_lock_file(folder), os.O_RDWR | os.O_CLOEXEC)
                fcntl.flock(descriptor, fcntl.LOCK_SH)  # blocks only while somebody cleans up
                os.close(descriptor)
        if not _lock_file(folder).exists():
            return
        time.sleep(0.01)


def _lock_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.users")


def _take(folder: Path, how: int) -> int:
    """Lock the file that is there now: whoever waited may hold one that was deleted meanwhile."""
    while True:
        descriptor = os.open(_lock_file(folder), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, how)
            if os.path.samestat(os.fstat(descriptor), _lock_file(folder).stat()):
                return descriptor
        except FileNotFoundError:
            pass  # deleted after we opened it: take the next one
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _make(folder: Path) -> bool:
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    folder.chmod(0o755)
    return True


def _start_reaper(folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.Popen(
        [sys.executable, "-m", "tests.support.reaper", str(folder)],
        cwd=Path(__file__).parents[2],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # it must outlive a killed test run
    )
