"""How a branch moves: the database transaction is the commit point, object files and refs are a cache of it.

`advance` puts compare-and-swap, journal row (the new objects' bytes) and ledger line into the unit's transaction.
The objects are written while it is made durable, the ref after it. A process that dies in between leaves a complete
journal row: whoever opens the branch next (`ready`) writes what is missing.
"""

import contextlib
from collections.abc import Iterator
from typing import Final

import pygit2
import sqlalchemy as sa

from builderos.core import tracing
from builderos.core.metrics import Metrics
from builderos.core.problems import Problem
from builderos.core.unit import Unit

from . import nodes
from .branches import branch_columns, main_branch, to_branch
from .model import branches, git_journal
from .objects import Batch, write_loose
from .schema import MAIN, Branch
from .store import RepositoryStore

_MAX_SWAPS: Final = 100


def advance(
    unit: Unit, branch: Branch, new: str, objects: bytes, *, ledger_line: str, commits: int = 1,
    files: int | None = None,
    pending: int = 0,
) -> None:  # fmt: skip
    """Move `branch` from its tip to `new` in this transaction; the unit starts over when the tip has moved meanwhile.

    `objects` is `Batch.pack()` of everything the store lacks. Raises `storage_full` where there is no room for them.
    """
    store = unit.get(RepositoryStore)
    store.require_room(unit.settings.disk_reserve + len(objects))
    unit.send(
        "ops.move", branch.id, branch.tip, new, objects, branch.commits + commits,
        branch.files if files is None else files, pending, unit.now, ledger_line,
    )  # fmt: skip
    draft = _Draft(store, branch.store, new, objects)
    unit.meanwhile(draft.write)
    unit.after_commit(unit.get(Metrics).moves.labels(branch.kind).inc)
    unit.after_commit(lambda: _settle_or_tell(store, branch, new, draft))


class _Draft:
    """A move's objects, written while the database makes it durable: nothing refers to them yet, and if the move
    fails, nothing ever will; maintenance sweeps them.
    """

    def __init__(self, store: RepositoryStore, folder: str, new: str, objects: bytes) -> None:
        self._store, self._folder, self._new, self._objects = store, folder, new, objects
        self._whole = False

    def write(self) -> None:
        """Try it. What fails here is tried again by `finish`, which has somebody to tell."""
        with contextlib.suppress(OSError, Problem):
            self.finish()

    def finish(self) -> None:
        """Raises `storage_full`, or OSError."""
        if self._whole:
            return
        with tracing.span("git write objects"):
            write_objects(self._store, self._folder, self._new, self._objects)
            self._whole = True


def _settle_or_tell(store: RepositoryStore, branch: Branch, new: str, draft: _Draft) -> None:
    try:
        draft.finish()
        bring_to(store, branch, new)
    except Problem as problem:
        if problem.code != "storage_full":
            raise
        raise Problem(
            "storage_full", f"the commit {new[:12]} on {branch.name} is kept, but the disk took no more of its files",
            hint="Do not send it again. Once there is room, it is finished when the branch is next opened.",
        ) from problem  # fmt: skip


def bring_to(store: RepositoryStore, branch: Branch, new: str) -> None:
    """Bring the ref of a move whose objects are written to it, unless a successor already went further."""
    with tracing.span("git move ref"):
        if not store.swap_ref(branch.store, branch.ref, branch.tip, new):
            _bring_ref(store, branch.store, branch.ref, new)


def write_objects(
    store: RepositoryStore, folder: str, new: str, objects: bytes, *, overwrite: bool = False
) -> None:
    """Write one journal row's objects, the commit itself last: a store that has it has everything behind it."""
    path, last = store.path(folder) / "objects", None
    for oid, stream in Batch.unpack(objects):
        if oid.hex() == new:
            last = (oid, stream)
        else:
            write_loose(path, oid, stream, overwrite=overwrite)
    if last is not None:
        write_loose(path, *last, overwrite=overwrite)


class Torn:
    """Branches whose files may be torn because the machine lost power, until their journal is written anew.

    Empty in ordinary times; `ready` and the start of a server empty it.
    """

    def __init__(self) -> None:
        self._ids: set[str] = set()

    def add(self, branch_id: str) -> None:
        """Its files may be torn."""
        self._ids.add(branch_id)

    def discard(self, branch_id: str) -> None:
        """Its files are whole."""
        self._ids.discard(branch_id)

    def __contains__(self, branch_id: str) -> bool:
        return branch_id in self._ids

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._ids))


def ready(unit: Unit, branch: Branch) -> None:
    """Make sure that the store holds the branch's tip, finishing moves of a process that died before it settled them.

    Raises `unavailable` where neither the store nor the journal has it.
    """
    store, torn = unit.get(RepositoryStore), unit.get(Torn)
    if branch.id in torn:
        rewrite(unit, branch)
        torn.discard(branch.id)
    if not store.exists(branch.store):
        _create(unit, store, branch)
    if store.holds(branch.store, branch.tip):
        return
    _look_elsewhere(unit, branch)
    if store.holds(branch.store, branch.tip) or _replay(unit, store, branch):
        return
    # Between the two looks another machine may have moved rows out of the journal.
    if nodes.fetch(unit, branch) and (store.holds(branch.store, branch.tip) or _replay(unit, store, branch)):
        return
    if branch.kind != MAIN:  # what it stands on may be a commit of main that is not settled either
        ready(unit, main_branch(unit, branch.repo_id))
        if store.holds(branch.store, branch.tip) or _replay(unit, store, branch):
            return
    raise Problem(
        "unavailable", f"neither the files nor the journal of {branch.name} hold its last commit",
        hint="Run `builderos doctor`.",
    )  # fmt: skip


def _look_elsewhere(unit: Unit, branch: Branch) -> None:
    """With several machines: what the branch stands on, then its own pieces. Nothing with one."""
    for other in nodes.neighbours(unit, branch):
        ready(unit, other)
    nodes.fetch(unit, branch)


def unborn(store: RepositoryStore, branch: Branch) -> bool:
    """Whether nobody has looked into this sandbox or written to it: `ready` makes its store for the first who does.

    Opening a sandbox takes no file thereby, and of many that are opened few are written.
    """
    if branch.kind not in ("sandbox", "dev") or branch.state != "active" or branch.tip != branch.base_sha:
        return False
    return not store.path(branch.store).exists()


def _replay(unit: Unit, store: RepositoryStore, branch: Branch) -> bool:
    """Write the rows that lead from what the store has to the tip; False where they do not."""
    c = git_journal.c
    rows = sa.select(c.old, c.new, c.objects).where(c.branch_id == branch.id).order_by(c.id.desc())
    wanted, missing = branch.tip, list[tuple[str, bytes]]()
    for row in unit.execute(rows):
        if row.new != wanted:
            return False
        missing.append((row.new, row.objects))
        wanted = row.old
        if store.holds(branch.store, wanted):
            break
    else:
        return False
    for new, objects in reversed(missing):
        write_objects(store, branch.store, new, objects, overwrite=True)
    if not store.holds(branch.store, branch.tip):
        return False
    _bring_ref(store, branch.store, branch.ref, branch.tip)
    return True


def rewrite(unit: Unit, branch: Branch) -> None:
    """Make a branch's files whole whatever they look like: skeleton, every object of the journal, the ref."""
    store = unit.get(RepositoryStore)
    if branch.kind in ("sandbox", "dev"):
        store.mend(branch.store, head=branch.ref, alternates=main_branch(unit, branch.repo_id).store)
    elif not store.exists(branch.store):
        _create(unit, store, branch)
    nodes.fetch(unit, branch, again=True)
    c = git_journal.c
    rows = sa.select(c.new, c.objects).where(c.branch_id == branch.id).order_by(c.id)
    for row in unit.execute(rows):
        write_objects(store, branch.store, row.new, row.objects, overwrite=True)
    store.forget(branch.store)
    if branch.state == "active":
        store.write_ref(branch.store, branch.ref, branch.tip)


def _create(unit: Unit, store: RepositoryStore, branch: Branch) -> None:
    """A sandbox's store, made for the first who reads or writes it; a dev branch whose process died before that."""
    if branch.kind not in ("sandbox", "dev"):
        if nodes.skeleton(unit, branch):
            return
        raise Problem(
            "unavailable", f"the files of {branch.name} are missing", hint="Run `builderos doctor --rebuild`."
        )
    main = main_branch(unit, branch.repo_id)
    if not store.exists(main.store):  # another machine's so far
        ready(unit, main)
    if store.path(branch.store).is_dir():  # without HEAD it is no repository, but it may hold objects
        store.mend(branch.store, head=branch.ref, alternates=main.store)
        return
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
    """Set a ref to a commit that the store holds, unless somebody who came later has brought it further already."""
    for _ in range(_MAX_SWAPS):
        current = store.read_ref(folder, ref)
        if current == tip or (current is not None and _descends(store, folder, current, tip)):
            return
        if store.swap_ref(folder, ref, current, tip):
            return
    raise Problem("busy", f"{ref} is moved by many at once", hint="Repeat the call.")


def _descends(store: RepositoryStore, folder: str, commit: str, ancestor: str) -> bool:
    """Whether `commit` is a readable descendant of `ancestor`; a torn one is none."""
    try:
        return store.holds(folder, commit) and store.open(folder).descendant_of(commit, ancestor)
    except (pygit2.GitError, KeyError):
        return False


def unsettled(unit: Unit) -> list[Branch]:
    """Branches of this organisation with journal rows (the moves since the last checkpoint)."""
    wanted = branch_columns().where(branches.c.id.in_(sa.select(git_journal.c.branch_id).distinct()))
    return [to_branch(row) for row in unit.execute(wanted)]
