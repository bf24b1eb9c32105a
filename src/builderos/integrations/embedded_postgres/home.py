"""Making the state folder: the server's user can get to its data, and nobody else is let in on the way."""

import os
import secrets
from pathlib import Path

from builderos.core.problems import Problem
from builderos.integrations.embedded_postgres.account import SYSTEM_USER, Account


def make_home(home: Path, account: Account) -> None:
    """Create `home` and the parents it lacks: readable for the owner only, enterable for the server's user.

    Folders that exist are never changed, except a home that is still empty. Raises Problem `unavailable`
    where an existing folder is closed to the server's user, or is no folder.
    """
    missing = [folder for folder in (home, *home.parents) if not folder.exists()]
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    if not existing.is_dir():
        raise Problem("unavailable", f"{existing} is not a folder.", hint="Choose another BUILDEROS_HOME.")
    if existing == home and account.switched and home.stat().st_uid == 0 and not any(home.iterdir()):
        _open_for(account, home)
    _refuse_closed(existing, home, account)
    for folder in reversed(missing):
        _make_folder(folder, home, account)


def _refuse_closed(existing: Path, home: Path, account: Account) -> None:
    closed = account.first_closed(existing)
    if closed is None:
        return
    fix = (
        f"chgrp {SYSTEM_USER} '{closed}' && chmod g+x '{closed}'"
        if closed == home
        else f"chmod o+x '{closed}'"
    )
    raise Problem(
        "unavailable",
        f"{closed} is closed to user {SYSTEM_USER}, as which root runs PostgreSQL.",
        hint=f"Set BUILDEROS_HOME to a folder outside of it, like /var/lib/builderos, or run: {fix}",
    )


def _make_folder(folder: Path, home: Path, account: Account) -> None:
    """Make one folder; it appears with its final rights, so that a second starter never sees it closed."""
    draft = folder.with_name(f".{folder.name[:100]}.{secrets.token_hex(4)}")
    draft.mkdir(mode=0o700)
    if folder == home:
        _open_for(account, draft)
    elif account.switched:
        draft.chmod(0o711)
    try:
        draft.rename(folder)
    except OSError:  # a second starter made it and put something in
        draft.rmdir()
        if not folder.is_dir():
            raise


def _open_for(account: Account, folder: Path) -> None:
    if account.switched:
        os.chown(folder, -1, account.gid)
        folder.chmod(0o710)
