"""What other machines need of a store: its objects as pieces in a place that all of them reach.

With one machine there is no such place: the disk and the journal are all there is, and nothing here is ever called.
With a place, every disk is a cache. What leaves the journal goes into a piece first, so that the pieces of a store in
their order, and the journal's rows behind them, are all that ever happened to it. Whoever lacks a branch's last commit
fetches the pieces that its store has not seen, then replays the journal.
"""

import fcntl
import os
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit, urlunsplit

import sqlalchemy as sa

from builderos.assets.artifacts.ports import Altered, ArtifactStore, Missing, Summing
from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.unit import Unit

from .branches import branch_by_id, main_branch
from .disk import room_on_disk
from .gitcli import run_git
from .model import branches, git_journal, git_pieces, run_trees
from .objects import Batch, Oid, tag_name, write_loose
from .schema import Branch
from .store import RepositoryStore

_SEEN: Final = "pieces"
_TAGS: Final = "refs/tags/"
_LOCKS: Final = 0x706965  # first half of the lock's key
_CHUNK: Final = 1024 * 1024
_MOST: Final = 40  # pieces of a store, before they are made one
_GRACE: Final = timedelta(days=1)


@dataclass(frozen=True)
class Nodes:
    """The place that all machines reach; None where there is one machine."""

    place: ArtifactStore | None = None


def place_of(artifact_url: str) -> str:
    """The URL of the place for repositories: below that of artifacts, apart from them."""
    parts = urlsplit(artifact_url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/repositories"))


# ---------------------------------------------------------------- giving


def give_rows(unit: Unit, branch_id: str) -> int:
    """Move the journal rows of a branch into a piece of its store; returns how many there were.

    The branch is locked meanwhile, so that pieces lie in the order of its moves.
    """
    place = unit.get(Nodes).place
    if place is None:
        return 0
    branch, c = branch_by_id(unit, branch_id, lock=True), git_journal.c
    wanted = sa.select(c.id).where(c.branch_id == branch.id).order_by(c.id)
    ids = list(unit.execute(wanted).scalars())
    if ids:
        tags: dict[str, str] = {}
        _give(unit, branch, "objects", _rows(unit, ids, tags), tags)
        unit.execute(sa.delete(git_journal).where(c.id.in_(ids)))
    return len(ids)


def give_packs(unit: Unit, branch: Branch, packs: Iterable[Path]) -> None:
    """Keep packs that no journal row will hold as pieces, behind everything that the branch has in the journal."""
    if unit.get(Nodes).place is None:
        return
    give_rows(unit, branch.id)
    for pack in packs:
        with pack.open("rb") as file:
            _give(unit, branch, "pack", iter(lambda: file.read(_CHUNK), b""), {})


def give_store(unit: Unit, branch: Branch) -> bool:
    """Make one pack of all that a store holds by itself, in the place of all its pieces; whether there was anything."""
    store = unit.get(RepositoryStore)
    if not store.exists(branch.store):
        return False
    give_rows(unit, branch.id)
    earlier = unit.execute(
        sa.select(sa.func.max(git_pieces.c.id)).where(git_pieces.c.store == branch.store)
    ).scalar()
    _git(store, branch.store, "repack", "-a", "-d", "-l", "-q", "--keep-unreachable")
    store.forget(branch.store)
    refs = store.open(branch.store).references.objects
    tags = {ref.name: str(ref.target) for ref in refs if ref.name.startswith(_TAGS)}
    packs = sorted(store.path(branch.store).glob("objects/pack/pack-*.pack"))
    for pack in packs:
        with pack.open("rb") as file:
            _give(unit, branch, "pack", iter(lambda: file.read(_CHUNK), b""), tags, covers=earlier)
    if packs and earlier is not None:  # they are in the place of what lay there before
        gone = sa.delete(git_pieces).where(git_pieces.c.store == branch.store, git_pieces.c.id <= earlier)
        unit.execute(gone)
    return bool(packs)


def compact(unit: Unit, branch_id: str) -> bool:
    """Make one piece of a store's pieces once they are many; whether they were."""
    c, branch = git_pieces.c, branch_by_id(unit, branch_id)
    count = unit.execute(sa.select(sa.func.count()).where(c.store == branch.store)).scalar_one()
    if count <= _MOST:
        return False
    fetch(unit, branch)
    return give_store(unit, branch)


def _rows(unit: Unit, ids: list[int], tags: dict[str, str]) -> Iterator[bytes]:
    """Objects of journal rows, one by one because a row may be large; `tags` is filled with the releases among them."""
    for id_ in ids:
        packed = unit.execute(sa.select(git_journal.c.objects).where(git_journal.c.id == id_)).scalar_one()
        for oid, stream in Batch.unpack(packed):
            name = tag_name(stream)
            if name is not None:
                tags[f"{_TAGS}{name}"] = oid.hex()
        yield packed


def _give(
    unit: Unit, branch: Branch, kind: Literal["objects", "pack"], chunks: Iterator[bytes], refs: dict[str, str],
    covers: int | None = None,
) -> None:  # fmt: skip
    place = unit.get(Nodes).place
    if place is None:
        raise ValueError("there is no place for pieces")
    # Several branches share the base's store: their pieces are numbered in the order in which they become visible.
    unit.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCKS, sa.func.hashtext(branch.store))))
    draft, sum_ = place.draft(unit.org_id), Summing()
    try:
        for chunk in chunks:
            draft.write(chunk)
            sum_.update(chunk)
        what = sum_.done()
        draft.keep(what)
    finally:
        draft.drop()
    unit.execute(
        sa.insert(git_pieces).values(
            org_id=unit.org_id, store=branch.store, kind=kind, hash=what.hash, size=what.size, refs=refs, covers=covers,
            at=unit.now,
        )
    )  # fmt: skip


# ---------------------------------------------------------------- fetching


def fetch(unit: Unit, branch: Branch, *, again: bool = False) -> bool:
    """Bring the pieces that a branch's store has not seen, in their order; whether there were any.

    `again` brings all of them, whatever the store has seen: after a power loss its files may be torn. Raises
    `unavailable` where the place cannot be reached, or gives other bytes than were kept.
    """
    if unit.get(Nodes).place is None:
        return False
    store, c = unit.get(RepositoryStore), git_pieces.c
    with _seen(store.path(branch.store)) as seen:
        after = 0 if again else seen.number
        fresh = sa.or_(c.covers.is_(None), c.covers > after)
        wanted = sa.select(git_pieces).where(c.store == branch.store, c.id > after, fresh)
        rows = unit.execute(wanted.order_by(c.id)).all()
        for row in rows:
            chunks = _read(unit, row.hash, row.size)
            if row.kind == "pack":
                _take_pack(store, branch.store, row.hash.hex()[:40], chunks)
            else:
                _take_objects(store, branch.store, b"".join(chunks), overwrite=again)
            for ref, sha in row.refs.items():
                store.write_ref(branch.store, ref, sha)
            if row.covers is None:  # what replaces others counts as seen once the last of it is there
                seen.note(row.id)
        if rows:
            seen.note(rows[-1].id)
            store.forget(branch.store)
        return bool(rows)


def skeleton(unit: Unit, branch: Branch) -> bool:
    """Make the empty base of a repository that came in on another machine; False with one machine."""
    if unit.get(Nodes).place is None:
        return False
    main = main_branch(unit, branch.repo_id)
    unit.get(RepositoryStore).mend(
        main.store, head=main.ref, alternates=None
    )  # refs of it may have come before
    return True


def neighbours(unit: Unit, branch: Branch) -> list[Branch]:
    """The branches that a branch may stand on: main, and the base branch, which follows it."""
    if unit.get(Nodes).place is None or branch.kind == "main":
        return []
    c = branches.c
    kinds = ("main",) if branch.kind == "base" else ("main", "base")
    wanted = sa.select(c.id).where(c.repo_id == branch.repo_id, c.kind.in_(kinds), c.state == "active")
    return [branch_by_id(unit, id_) for id_ in unit.execute(wanted.order_by(c.kind.desc())).scalars()]


def _read(unit: Unit, hash_: bytes, size: int) -> Iterator[bytes]:
    place, summing = unit.get(Nodes).place, Summing()
    assert place is not None
    try:
        for chunk in place.read(unit.org_id, hash_, 0, size):
            summing.update(chunk)
            yield chunk
        if summing.done().hash != hash_:
            raise Altered("a piece of a repository")
    except (Altered, Missing) as error:
        raise Problem(
            "unavailable", "a piece of this repository is missing or was altered in the place of pieces",
            hint="Restore it there from a backup, or from another machine with `builderos doctor --rebuild`.",
        ) from error  # fmt: skip


def _take_objects(store: RepositoryStore, folder: str, packed: bytes, *, overwrite: bool) -> None:
    """In the order of the moves: the commit of each comes after what it needs."""
    objects, late = store.path(folder) / "objects", list[tuple[Oid, bytes]]()
    for oid, stream in Batch.unpack(packed):
        late.append((oid, stream))
    for oid, stream in sorted(late, key=lambda item: _is_commit(item[1])):
        write_loose(objects, oid, stream, overwrite=overwrite)


def _is_commit(stream: bytes) -> bool:
    return zlib.decompressobj().decompress(stream, 7) == b"commit "


def _take_pack(store: RepositoryStore, folder: str, name: str, chunks: Iterator[bytes]) -> None:
    packs = store.path(folder) / "objects" / "pack"
    target, draft = packs / f"pack-{name}.pack", packs / f"tmp_piece_{name}_{os.getpid()}.pack"
    try:
        with room_on_disk(), draft.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
        _git(store, folder, "index-pack", "-o", str(draft.with_suffix(".idx")), str(draft))
        draft.rename(target)
        draft.with_suffix(".idx").rename(
            target.with_suffix(".idx")
        )  # git reads a pack once its index is there
    finally:
        for left in (draft, draft.with_suffix(".idx"), draft.with_suffix(".rev")):
            left.unlink(missing_ok=True)


class _Seen:
    """The number of the last piece that a store has seen, in a file of it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        text = os.pread(fd, 32, 0).strip()
        self.number = int(text) if text.isdigit() else 0

    def note(self, number: int) -> None:
        """It has seen this one, too."""
        self.number = max(self.number, number)
        os.pwrite(self._fd, b"%-31d\n" % self.number, 0)


@contextmanager
def _seen(folder: Path) -> Generator[_Seen]:
    """One at a time fetches for a store."""
    fd = os.open(folder / _SEEN, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield _Seen(fd)
    finally:
        os.close(fd)


def _git(store: RepositoryStore, folder: str, *args: str) -> None:
    done = run_git(
        ["-C", str(store.path(folder)), "-c", "pack.threads=1", "-c", "repack.writeBitmaps=false", *args]
    )
    if done.returncode != 0:
        text = done.stderr.decode(errors="replace").strip()
        code = "storage_full" if "No space left" in text else "unavailable"
        raise Problem(code, f"git {args[0]} failed: {text[-300:]}", hint="Run `builderos doctor`.")


# ---------------------------------------------------------------- tidying


def tidy(unit: Unit) -> int:
    """Take away what lies in the place and belongs to no piece since a day; returns how many."""
    place, gone = unit.get(Nodes).place, 0
    if place is None:
        return 0
    named = sa.union(sa.select(git_pieces.c.hash), sa.select(run_trees.c.hash))
    known = set(unit.execute(named).scalars())
    for found in place.listed(unit.org_id):
        if found.hash not in known and found.modified < unit.now - _GRACE:
            place.delete(unit.org_id, found.hash)
            gone += 1
    place.sweep(unit.org_id, unit.now - _GRACE)
    return gone


def erase_elsewhere(context: Context, org_id: str) -> None:
    """Take away everything of an organisation from the place; safe to repeat."""
    place = context.get(Nodes).place
    if place is not None:
        place.erase(org_id)
