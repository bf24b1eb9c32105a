"""What the doctor asks about stores: folders that belong to nobody, rows that wait too long, files of the dead."""

import time
from datetime import datetime
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from builderos.core.home import ASIDE
from builderos.core.ids import is_id
from builderos.core.unit import Unit

from . import maintenance
from .model import branches, git_journal, repositories
from .publish import dead_quarantines, sweep_quarantine
from .store import RepositoryStore

_YOUNG_S: Final = 3600.0  # an import makes its folder before its row


def orphans(unit: Unit) -> list[Path]:
    """Stores of the organisation that no row knows: of a failed import, or younger than a restored database."""
    root = unit.get(RepositoryStore).root / unit.org_id
    known_repos = set(unit.execute(sa.select(repositories.c.id)).scalars())
    known_branches = set(unit.execute(sa.select(branches.c.id)).scalars())
    found = [p for p in root.glob("repo_*") if is_id(p.name, "repo") and p.name not in known_repos]
    stores = (p for p in root.glob("repo_*/branches/*/br_*.git") if p.parents[2].name in known_repos)
    found += [p for p in stores if p.stem not in known_branches]
    return sorted(p for p in found if time.time() - p.stat().st_mtime > _YOUNG_S)


def set_aside(unit: Unit) -> list[Path]:
    """Move orphans out of the way, into `.lost` beside the repositories; nothing is deleted. Returns where they are."""
    store, moved = unit.get(RepositoryStore), list[Path]()
    for orphan in orphans(unit):
        store.forget(str(orphan.relative_to(store.root)))
        target = store.root / ASIDE / f"{unit.now:%Y%m%dT%H%M%S}" / orphan.relative_to(store.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        moved.append(orphan.rename(target))
    return moved


def backlog(unit: Unit) -> tuple[int, datetime | None]:
    """How many journal rows wait for a checkpoint, and since when the oldest does."""
    waiting, oldest = sa.func.count().label("waiting"), sa.func.min(git_journal.c.at).label("oldest")
    row = unit.execute(sa.select(waiting, oldest).select_from(git_journal)).one()
    return row.waiting, row.oldest


def stale(unit: Unit) -> list[Path]:
    """Locks and temporary files of the dead in the organisation's stores."""
    store = unit.get(RepositoryStore)
    folders = maintenance.stores_of(store, unit.org_id)
    return [path for folder in folders for path in maintenance.stale_files(store, folder)]


def drafts(unit: Unit) -> list[Path]:
    """Stores that an import or an opening left half made, and what pushes of dead processes left."""
    store = unit.get(RepositoryStore)
    return [*maintenance.dead_drafts(store), *dead_quarantines(store, _YOUNG_S)]


def sweep_drafts(unit: Unit) -> None:
    """Remove them."""
    store = unit.get(RepositoryStore)
    maintenance.sweep_drafts(store)
    sweep_quarantine(store, _YOUNG_S)


def sweep(unit: Unit) -> None:
    """Remove them."""
    store = unit.get(RepositoryStore)
    for folder in maintenance.stores_of(store, unit.org_id):
        maintenance.sweep_store(store, folder)
