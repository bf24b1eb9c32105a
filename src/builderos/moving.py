"""`builderos admin move`: an installation to an external PostgreSQL and a store that all machines reach.

Nothing of the old one is changed: it can be started again as it was. Who was stopped begins anew with an empty
database; what lies in the store already is not copied twice.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from builderos.assembly import assemble
from builderos.assets.artifacts import service as artifacts
from builderos.assets.repositories import service as repositories
from builderos.core.context import Context
from builderos.core.copying import copy
from builderos.core.database import Database
from builderos.core.keys import load_keys
from builderos.core.migrations import migrate
from builderos.core.problems import Problem
from builderos.core.settings import Settings, load_settings
from builderos.core.unit import as_system
from builderos.execution.compute.service import SandboxProviders
from builderos.execution.runs import service as execution
from builderos.integrations.embedded_postgres import service as embedded_postgres
from builderos.interfaces.http import place
from builderos.trust.ledger import service as ledger

Tell = Callable[[str], None]


@dataclass
class Moved:
    """What arrived, counted at the new place."""

    rows: int = 0
    ledger_lines: int = 0
    artifacts: int = 0
    verified: int = 0
    stores: int = 0
    branches: int = 0
    trees: int = 0


def move(settings: Settings, database: str, store: str, tell: Tell) -> Moved:
    """Copy everything, then look at it from a machine that has nothing. Raises `Problem`.

    `settings` are those of the installation, whose server does not run.
    """
    home = settings.home_dir
    try:
        lock = place.acquire(home)
    except place.AlreadyRunning:
        raise Problem(
            "conflict", "the server of this state folder runs", hint="Stop it: builderos self stop."
        ) from None
    was_running = settings.database_url is None and embedded_postgres.status(home).state == "running"
    with lock:
        try:
            return _move(settings, database, store, tell)
        finally:
            if settings.database_url is None and not was_running:
                embedded_postgres.stop(home)


def _move(settings: Settings, database: str, store: str, tell: Tell) -> Moved:
    home, moved = settings.home_dir, Moved()
    keys = load_keys(home, settings.secret_key.get_secret_value() if settings.secret_key else None)
    if settings.database_url is None:
        source = embedded_postgres.start(home).superuser_conninfo
    else:
        source = settings.database_url.get_secret_value()
    migrate(source, keys.secret)  # an older one becomes this version
    migrated = migrate(database, keys.secret)
    there = settings.model_copy(update={"database_url": SecretStr(database), "artifact_url": store})
    moved.rows = copy(source, database, tell).rows
    context = assemble(there, keys, Database(migrated.keys))
    try:
        context.get(artifacts.Stores).at(store).probe()
        for org_id in context.get(Database).organisations("all"):
            _give(context, org_id, store, moved, tell)
    finally:
        _close(context)
    with tempfile.TemporaryDirectory(prefix="builderos-move-", dir=home) as empty:
        context = assemble(there.model_copy(update={"home": Path(empty)}), keys, Database(migrated.keys))
        try:
            for org_id in context.get(Database).organisations("all"):
                _verify(context, org_id, moved)
        finally:
            _close(context)
    return moved


def _close(context: Context) -> None:
    context.get(SandboxProviders).close()
    context.get(Database).close()


def _give(context: Context, org_id: str, store: str, moved: Moved, tell: Tell) -> None:
    moved.stores += repositories.give_all(context, org_id)
    moved.artifacts += artifacts.moving.copy_all(context, org_id, store)
    moved.trees += execution.leaving.give_trees(context, org_id)
    execution.leaving.put_logs_away(context, org_id)
    tell(f"{org_id}: {moved.stores} stores, {moved.trees} trees of runs, {moved.artifacts} artifacts")


def _verify(context: Context, org_id: str, moved: Moved) -> None:
    """From an empty folder: the chain, every artifact, every branch."""
    verdict = as_system(context, org_id, ledger.verify_stored, read_only=True)
    if not verdict.ok:
        raise Problem(
            "hash_mismatch", f"the ledger of {org_id} is not whole: {verdict.reason}", hint="Do not use it."
        )
    moved.ledger_lines += verdict.lines
    moved.verified += artifacts.moving.verify_all(context, org_id)
    moved.branches += repositories.open_all(context, org_id)


def main() -> int:
    """Move what `BUILDEROS_HOME` holds to MOVE_DATABASE and MOVE_ARTIFACTS (URLs hold passwords: no arguments)."""
    database, store = os.environ.pop("MOVE_DATABASE"), os.environ.pop("MOVE_ARTIFACTS")
    settings = load_settings()
    try:
        moved = move(settings, database, store, lambda line: print(line, flush=True))
    except Problem as problem:
        print(f"{problem.detail}\n{problem.hint}", file=sys.stderr, flush=True)
        return 1
    print(
        f"Moved and verified: {moved.rows} rows, {moved.ledger_lines} lines of the ledger, {moved.branches} branches, "
        f"{moved.verified} artifacts.\nThe old installation is whole. Start the new one with\n"
        f"  BUILDEROS_DATABASE_URL, BUILDEROS_ARTIFACT_URL as given here\n"
        f"  BUILDEROS_SECRET_KEY   what {settings.home_dir}/secret.key holds, unless you had set it before"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
