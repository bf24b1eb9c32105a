"""The operating system's user the server runs as: PostgreSQL refuses to run as root."""

import errno
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from builderos.core.problems import Problem
from builderos.integrations.embedded_postgres.files import locked

SYSTEM_USER: Final = "builderos-pg"
_WAY_OUT: Final = (
    "Run BuilderOS as an ordinary user, or create the user with "
    f"`useradd --system --no-create-home {SYSTEM_USER}`, or set BUILDEROS_DATABASE_URL to another PostgreSQL."
)
# Prints the first of its arguments that may not be entered.
_FIRST_CLOSED: Final = 'for d; do [ -x "$d" ] || { printf %s "$d"; exit 1; }; done'


@dataclass(frozen=True, slots=True)
class Account:
    """The user the server runs as; `switched` means it is not ours, because we are root."""

    uid: int
    gid: int
    switched: bool

    def own(self, path: Path) -> None:
        """Give `path` to this user."""
        if self.switched:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        cwd: Path = Path("/"),
        timeout_s: float = 60,
        pass_fds: Sequence[int] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Run a program as this user with an empty environment and return its result, output as text.

        Raises OSError where the program cannot be executed, Problem `unavailable` where it takes longer than
        `timeout_s` seconds or the system forbids to change the user.
        """
        try:
            return subprocess.run(
                argv,
                cwd=cwd,
                env={"LC_ALL": "C.UTF-8", "PATH": os.defpath},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=timeout_s,
                pass_fds=pass_fds,
                user=self.uid if self.switched else None,
                group=self.gid if self.switched else None,
                extra_groups=[] if self.switched else None,
            )
        except subprocess.TimeoutExpired as slow:
            raise Problem(
                "unavailable",
                f"{Path(argv[0]).name} took longer than {timeout_s:.0f} s.",
                hint="Look at the load of the machine and at pg.log in the state folder, then try again.",
            ) from slow
        except PermissionError as refused:
            if refused.errno == errno.EPERM and self.switched:
                raise Problem(
                    "unavailable", f"The system does not let root act as user {SYSTEM_USER}.", hint=_WAY_OUT
                ) from refused
            raise

    def first_closed(self, folder: Path) -> Path | None:
        """The first folder on the way to `folder`, itself included, that this user may not enter."""
        if not self.switched:
            return None
        way = [*reversed(folder.parents), folder]
        result = self.run(["/bin/sh", "-c", _FIRST_CLOSED, "sh", *way])
        return Path(result.stdout) if result.returncode else None


def server_account() -> Account:
    """The caller's own user, or for root the system user `builderos-pg`, created if missing.

    Raises Problem `unavailable` where the user cannot be created.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), switched=False)
    return Account(*(_lookup() or _create()), switched=True)


def _lookup() -> tuple[int, int] | None:
    try:
        entry = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        return None
    return entry.pw_uid, entry.pw_gid


def _create() -> tuple[int, int]:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    useradd = shutil.which("useradd", path=path)
    if useradd is None:
        raise _no_user("useradd is missing.")
    argv = [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
    # useradd looks for the name before it locks: two at a time make the user twice, and the second id
    # replaces the first, to which a data folder may belong by then.
    with locked(Path("/etc"), time.monotonic() + 10, f"is creating user {SYSTEM_USER}"):
        result = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        found = _lookup()
    if found is None:
        raise _no_user(result.stderr.strip())
    return found


def _no_user(why: str) -> Problem:
    return Problem(
        "unavailable",
        f"PostgreSQL does not run as root, and its user {SYSTEM_USER} cannot be created: {why}",
        hint=_WAY_OUT,
    )
