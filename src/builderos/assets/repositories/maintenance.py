"""Keeping stores small and the journal short, beside writers. One process per machine at a time.

A journal row is dropped only when its objects have been seen in the store and the file system has been flushed after
that: a crash at any point leaves the row, or makes it unnecessary. Objects are packed, never pruned.
"""

import logging
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pygit2
import sqlalchemy as sa

from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.problems import Problem
from builderos.core.unit import Unit, as_system

from . import durable, nodes
from .branches import branch_by_id
from .gitcli import run_git
from .journal import ready, unsettled
from .model import git_journal
from .nodes import Nodes
from .objects import Batch, write_loose
from .publish import sweep_quarantine
from .schema import Branch
from .store import STALE_LOCK_S, RepositoryStore

log = logging.getLogger("builderos.repositories")

LOOSE_LIMIT: Final = 1000
PACK_LIMIT: Final = 20
REFS_LIMIT: Final = 100
_ROWS: Final = 100
_DELETED_AT_ONCE: Final = 1000
_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
_OTHER_LOCKS_S: Final = (
    10 * _MINUTE
)  # packing refs or writing a commit graph takes longer than moving one ref
_DRAFTS_S: Final = 6 * _HOUR  # an import may take long
_GIT: Final = (
    # Without bitmaps: a sandbox's store is no closed set, because it borrows from its base.
    ("repack.writeBitmaps", "false"), ("pack.threads", "1"), ("gc.auto", "0"), ("core.fsync", "committed"),
)  # fmt: skip


@dataclass
class Checkpoint:
    """What one checkpoint did."""

    rows: int = 0
    packed: int = 0
    failed: int = 0


@dataclass
class Swept:
    """What dead processes had left: names of removed files and folders, relative to the root."""

    removed: list[str] = field(default_factory=list[str])


def checkpoint(context: Context) -> Checkpoint | None:
    """See every journal row's objects in its store, flush the file system, then drop those rows.

    None where another process is at it, or where files torn by a power loss are still being written anew.
    """
    store = context.get(RepositoryStore)
    if context.get(Nodes).place is not None:
        return _give_all(context)
    with durable.leader(store.root) as leading:
        if not leading or durable.read_mark(store.root).boot_id != durable.boot_id():
            return None
        result, seen = Checkpoint(), dict[str, list[int]]()
        stores: set[str] = set()
        for org_id in context.get(Database).organisations("checkpoint"):
            seen[org_id] = _see_rows(context, org_id, stores, result)
        for folder in sorted(stores):
            result.packed += pack(store, folder)
        if any(seen.values()):
            durable.flush(store.root)
        for org_id, ids in seen.items():
            result.rows += _drop_rows(context, org_id, ids)
        return result


def _give_all(context: Context) -> Checkpoint:
    """With several machines no disk is the last resort: rows leave the journal for the place that all of them reach."""
    store, result = context.get(RepositoryStore), Checkpoint()
    for org_id in context.get(Database).organisations("checkpoint"):
        for branch in as_system(context, org_id, unsettled, read_only=True):
            try:
                result.rows += as_system(
                    context, org_id, lambda unit, id_=branch.id: nodes.give_rows(unit, id_)
                )
                as_system(context, org_id, lambda unit, id_=branch.id: nodes.compact(unit, id_))
                result.packed += store.exists(branch.store) and pack(store, branch.store)
            except (Problem, OSError, pygit2.GitError) as error:  # its rows stay
                result.failed += 1
                log.warning("the journal of %s could not be shared: %s", branch.id, error)
    return result


def _see_rows(context: Context, org_id: str, stores: set[str], result: Checkpoint) -> list[int]:
    """Ids of the rows whose objects are in their stores; the stores are added to `stores`."""
    ids: list[int] = []
    after: int | None = 0
    while after is not None:
        page = _Page(after, stores, result)
        after = as_system(context, org_id, page.see, read_only=True)
        ids += page.ids
    return ids


class _Page:
    """Some rows of the journal, looked at in one transaction that writes nothing."""

    def __init__(self, after: int, stores: set[str], result: Checkpoint) -> None:
        self.ids: list[int] = []
        self._after = after
        self._stores = stores
        self._result = result
        self._branches: dict[str, Branch] = {}

    def see(self, unit: Unit) -> int | None:
        """The last row's id; None when there are no more."""
        c = git_journal.c
        wanted = sa.select(c.id, c.branch_id, c.new).where(c.id > self._after).order_by(c.id).limit(_ROWS)
        last = None
        for row in unit.execute(wanted).all():
            last = int(row.id)
            try:
                branch = self._branch(unit, row.branch_id)
                objects = unit.execute(sa.select(c.objects).where(c.id == last)).scalar_one()  # may be large
                _see_row(unit.get(RepositoryStore), branch, row.new, objects)
            except (Problem, OSError, pygit2.GitError, KeyError) as error:  # its row stays
                self._result.failed += 1
                log.warning("the journal row %d of %s cannot be dropped: %s", row.id, row.branch_id, error)
            else:
                self.ids.append(last)
                self._stores.add(branch.store)
        return last

    def _branch(self, unit: Unit, branch_id: str) -> Branch:
        if branch_id not in self._branches:
            branch = branch_by_id(unit, branch_id)
            ready(unit, branch)
            self._branches[branch_id] = branch
        return self._branches[branch_id]


def _see_row(store: RepositoryStore, branch: Branch, new: str, objects: bytes) -> None:
    """Make sure that a row's objects are readable. Raises `KeyError` where its commit is not."""
    for oid, stream in Batch.unpack(objects):
        _see_object(store, branch, oid, stream)
    if not store.holds(branch.store, new):
        raise KeyError(new)


def _see_object(store: RepositoryStore, branch: Branch, oid: bytes, stream: bytes) -> None:
    name = oid.hex()
    folder = store.path(branch.store) / "objects"
    try:
        if os.stat(f"{folder}/{name[:2]}/{name[2:]}").st_size == len(stream):
            return
    except FileNotFoundError:
        if store.holds(branch.store, name):  # packed since
            return
    write_loose(folder, oid, stream, overwrite=True)


def _drop_rows(context: Context, org_id: str, ids: list[int]) -> int:
    dropped = 0
    for at in range(0, len(ids), _DELETED_AT_ONCE):
        chunk = ids[at : at + _DELETED_AT_ONCE]
        wanted = sa.delete(git_journal).where(git_journal.c.id.in_(chunk))
        dropped += as_system(context, org_id, lambda unit, delete=wanted: unit.execute(delete).rowcount)
    return dropped


# ---------------------------------------------------------------- packing


def pack(store: RepositoryStore, folder: str) -> bool:
    """Pack a store's loose objects once there are many, rolling small packs up; whether it did.

    Safe beside writers: whatever is loose is packed, reachable or not, and an object leaves its file only when it is
    in a pack. What the base holds is left there. Raises `Problem("unavailable")` where git fails.
    """
    objects = store.path(folder) / "objects"
    if not (_many_loose(objects) or len(list(objects.glob("pack/*.pack"))) > PACK_LIMIT):
        return False
    _git(store, folder, "repack", "-q", "-d", "-l", "--geometric=2")
    store.forget(folder)
    return True


def _many_loose(objects: Path) -> bool:
    count = 0
    for fan_out in range(256):
        try:
            count += len(os.listdir(objects / f"{fan_out:02x}"))
        except FileNotFoundError:
            continue
        if count > LOOSE_LIMIT:
            return True
    return False


def pack_refs(store: RepositoryStore, folder: str) -> bool:
    """Pack a store's refs once there are many; whether it did. Our own writes of refs take git's locks, too."""
    loose = sum(len(names) for _, _, names in os.walk(store.path(folder) / "refs"))
    if loose <= REFS_LIMIT:
        return False
    _git(store, folder, "pack-refs", "--all")
    return True


def write_commit_graph(store: RepositoryStore, folder: str) -> bool:
    """Note a base's history in a form that git walks faster, where main moved since the last time; whether it did."""
    root = store.path(folder)
    try:
        noted = (root / "objects/info/commit-graph").stat().st_mtime
        moved = (root / "refs/heads/main").stat().st_mtime
    except FileNotFoundError:
        noted, moved = 0.0, 1.0
    if noted >= moved:
        return False
    _git(store, folder, "commit-graph", "write", "--reachable")
    return True


def _git(store: RepositoryStore, folder: str, *args: str) -> None:
    config = [part for key, value in _GIT for part in ("-c", f"{key}={value}")]
    done = run_git([*config, "-C", str(store.path(folder)), *args])
    if done.returncode != 0:
        text = done.stderr.decode(errors="replace").strip()
        code = "storage_full" if "No space left" in text else "unavailable"
        raise Problem(code, f"git {args[0]} failed: {text[-300:]}", hint="Run `builderos doctor`.")


# ---------------------------------------------------------------- sweeping


def tidy(context: Context) -> Swept | None:
    """Walk all stores: pack, and remove what dead processes left. None where another process is at it."""
    store = context.get(RepositoryStore)
    with durable.leader(store.root) as leading:
        if not leading:
            return None
        swept = Swept()
        for folder in stores_of(store):
            swept.removed += _tidy_store(store, folder)
        swept.removed += sweep_drafts(store)
        sweep_quarantine(store, _HOUR)
        for org_id in context.get(Database).organisations("checkpoint"):
            as_system(context, org_id, nodes.tidy)
        return swept


def _tidy_store(store: RepositoryStore, folder: str) -> list[str]:
    """What was swept; one broken store must not keep the others untidy."""
    try:
        pack(store, folder)
        pack_refs(store, folder)
        if folder.endswith("/base.git"):
            write_commit_graph(store, folder)
        return sweep_store(store, folder)
    except Problem as problem:
        log.warning("%s was not tidied: %s", folder, problem.detail)
        return []


def stores_of(store: RepositoryStore, org_id: str = "*") -> Iterator[str]:
    """Folders of all stores on disk (of one organisation), relative to the root: of each repository the base first."""
    for base in sorted(store.root.glob(f"{org_id}/*/base.git")):
        yield str(base.relative_to(store.root))
        for own in sorted(base.parent.glob("branches/*/*.git")):
            yield str(own.relative_to(store.root))


def sweep_store(store: RepositoryStore, folder: str, now: float | None = None) -> list[str]:
    """Remove stale locks and temporary files of one store; returns their paths relative to the root."""
    return _remove(store, stale_files(store, folder, now))


def stale_files(store: RepositoryStore, folder: str, now: float | None = None) -> list[Path]:
    """Locks and temporary files of one store that are too old to belong to anybody who lives."""
    root, now = store.path(folder), time.time() if now is None else now
    found: list[Path] = [p for p in (root / "refs").rglob("*.lock") if _age(p, now) > STALE_LOCK_S]
    others = [*root.glob("*.lock"), *(root / "objects" / "info").rglob("*.lock")]
    found += [p for p in others if _age(p, now) > _OTHER_LOCKS_S]
    found += [
        p for p in (root / "objects").glob("[0-9a-f][0-9a-f]/tmp_obj*") if _age(p, now) > _OTHER_LOCKS_S
    ]
    found += [p for p in (root / "objects" / "pack").glob("tmp_*") if _age(p, now) > _DRAFTS_S]
    return found


def sweep_drafts(store: RepositoryStore, now: float | None = None) -> list[str]:
    """Remove stores that were never finished; returns their paths relative to the root."""
    return _remove(store, dead_drafts(store, now))


def dead_drafts(store: RepositoryStore, now: float | None = None) -> list[Path]:
    """Stores that were never finished, and are too old to be in the making."""
    now = time.time() if now is None else now
    drafts = [
        *store.root.glob(".import-*"),
        *store.root.glob("*/*/.new-*"),
        *store.root.glob("*/*/branches/*/.new-*"),
    ]
    return [p for p in drafts if _age(p, now) > _DRAFTS_S]


def _age(path: Path, now: float) -> float:
    try:
        return now - path.lstat().st_mtime
    except FileNotFoundError:  # its owner was faster
        return 0.0


def _remove(store: RepositoryStore, paths: list[Path]) -> list[str]:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return [str(path.relative_to(store.root)) for path in paths]
