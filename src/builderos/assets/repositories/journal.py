"""How a branch moves: the database transaction is the commit point, object files and refs are a cache of it.

`advance` puts compare-and-swap, journal row (the new objects' bytes) and ledger line into the unit's transaction.
`settle` writes the objects and the ref after it. A process that dies between the two leaves a complete journal row:
whoever opens the branch next (`ready`) writes what is missing.
"""

import sqlalchemy as sa

from builderos.core.problems import Problem
from builderos.core.unit import Retry, Unit

from .model import branches, git_journal
from .objects import Batch, write_loose
from .schema import Branch
from .store import RepositoryStore


def advance(
    unit: Unit, branch: Branch, new: str, objects: bytes, *, ledger_line: str, commits: int = 1, files: int | None = None,
    pending: int = 0,
) -> int:  # fmt: skip
    """Move `branch` from its tip to `new` in this transaction; returns the number of the ledger line.

    `objects` is `Batch.pack()` of everything the store lacks. Raises `Retry` when the tip has moved meanwhile.
    """
    row = unit.driver.execute(
        "select ops.move(%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (branch.id, branch.tip, new, objects, branch.commits + commits, branch.files if files is None else files,
         pending, unit.now, ledger_line),
    ).fetchone()  # fmt: skip
    if row is None or row[0] is None:
        raise Retry
    store = unit.get(RepositoryStore)
    unit.after_commit(lambda: settle(store, branch, new, objects))
    return int(row[0])


def settle(store: RepositoryStore, branch: Branch, new: str, objects: bytes, *, overwrite: bool = False) -> None:
    """Write the objects of one move and bring the ref to it, unless a successor already went further."""
    folder = store.path(branch.store) / "objects"
    for oid, stream in Batch.unpack(objects):
        write_loose(folder, oid, stream, overwrite=overwrite)
    current = store.read_ref(branch.store, branch.ref)
    if current == new:
        return
    if current is not None and current != branch.tip and not _behind(store, branch, current, new):
        return
    store.write_ref(branch.store, branch.ref, new)


def _behind(store: RepositoryStore, branch: Branch, current: str, new: str) -> bool:
    """Whether `current` is an ancestor of `new` (or unreadable, as after a power loss): then the ref must follow."""
    repo = store.open(branch.store)
    if current not in repo:
        return True
    return repo.descendant_of(new, current)


def ready(unit: Unit, branch: Branch) -> None:
    """Make sure that the store holds the branch's tip, finishing moves that a dead process committed but did not settle."""
    store = unit.get(RepositoryStore)
    if not store.exists(branch.store):
        _create(unit, store, branch)
    if branch.tip in store.open(branch.store):
        return
    rows = (
        sa.select(git_journal.c.old, git_journal.c.new, git_journal.c.objects)
        .where(git_journal.c.branch_id == branch.id)
        .order_by(git_journal.c.id.desc())
    )
    folder = store.path(branch.store) / "objects"
    repo = store.open(branch.store)
    wanted = branch.tip
    for row in unit.execute(rows):
        if row.new != wanted:
            raise Problem("unavailable", f"the journal of {branch.name} has a gap", hint="Run `builderos doctor`.")
        for oid, stream in Batch.unpack(row.objects):
            write_loose(folder, oid, stream)
        wanted = row.old
        if wanted in repo:
            store.write_ref(branch.store, branch.ref, branch.tip)
            return
    raise Problem("unavailable", f"the journal of {branch.name} does not reach its store", hint="Run `builderos doctor`.")


def _create(unit: Unit, store: RepositoryStore, branch: Branch) -> None:
    """A branch whose process died between its commit and the creation of its store starts here from its base."""
    if branch.kind not in ("sandbox", "dev"):
        raise Problem("unavailable", f"the files of {branch.name} are missing", hint="Run `builderos doctor --rebuild`.")
    from .branches import main_branch

    main = main_branch(unit, branch.repo_id)
    refs = {branch.ref: branch.base_sha, main.ref: main.tip}
    store.create(branch.store, head=branch.ref, refs=refs, alternates=main.store)


def sync_ref(unit: Unit, branch: Branch) -> None:
    """Bring the ref on disk to the branch's tip before a git client looks at it."""
    ready(unit, branch)
    _bring_ref(unit.get(RepositoryStore), branch.store, branch.ref, branch.tip)


def mirror_ref(unit: Unit, branch: Branch, main: Branch) -> None:
    """Show `main` as it is now in the store of `branch`, which borrows main's objects."""
    if branch.store != main.store:
        _bring_ref(unit.get(RepositoryStore), branch.store, main.ref, main.tip)


def _bring_ref(store: RepositoryStore, folder: str, ref: str, tip: str) -> None:
    """Set a ref to what this unit read, unless somebody who read later has brought it further already."""
    current = store.read_ref(folder, ref)
    if current == tip:
        return
    repo = store.open(folder)
    if current is None or current not in repo or not repo.descendant_of(current, tip):
        store.swap_ref(folder, ref, current, tip)


def unsettled(unit: Unit) -> list[Branch]:
    """Branches of this organisation with journal rows (the moves since the last checkpoint)."""
    from .branches import branch_columns, to_branch

    wanted = branch_columns().where(branches.c.id.in_(sa.select(git_journal.c.branch_id).distinct()))
    return [to_branch(row) for row in unit.execute(wanted)]
