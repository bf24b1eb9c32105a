"""How a push's objects enter the store: exactly what the branch needs, durable, and safe from maintenance meanwhile."""

import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pygit2

from .objects import Oid
from .receive import PREFIX, Arrival, Quarantine, index_fault, packed_ids, room_on_disk
from .store import RepositoryStore


def seal(room: Quarantine, arrival: Arrival) -> None:
    """Make what will be published exactly what the branch needs, and durable.

    A client may send more than that: objects of refs that were refused, or what nobody refers to.
    """
    if frozenset(arrival.objects) != packed_ids(room):
        _repack(room, arrival.objects)
    with room_on_disk():
        for file in (room.folder / "pack").iterdir():
            _sync(file)
        for folder in room.above:
            _sync(folder)


def _repack(room: Quarantine, oids: Iterable[Oid]) -> None:
    """Replace the pack by one of exactly these objects; by none where there are none."""
    sent = list((room.folder / "pack").iterdir())
    wanted = "".join(f"{oid.hex()}\n" for oid in oids).encode()
    if wanted:
        done = room.git("pack-objects", "--quiet", "--threads=1", str(room.folder / "exact"), stdin=wanted)
        if done.returncode != 0:
            raise index_fault(done.stderr)
    for file in sent:
        file.unlink()
    for file in room.folder.glob("exact-*"):
        file.rename(room.folder / "pack" / file.name.replace("exact-", "pack-"))


class Publication:
    """A sealed push on its way into the store.

    Git reads a pack once its index is there, so the index comes last. Until the ref has arrived at the new commit, a
    `.keep` file tells `git repack` that somebody needs these objects.
    """

    def __init__(self, room: Quarantine, ref: str, new: str) -> None:
        self._room = room
        self._target = room.store / "objects" / "pack"
        self._note = f"push {ref} {new}\n"
        self._moved: list[Path] = []
        self._keeps: list[Path] = []

    def packs(self) -> list[Path]:
        """The packs that are to be published."""
        return sorted((self._room.folder / "pack").glob("pack-*.pack"))

    def publish(self) -> None:
        """Move the files; what has been moved stays where it is."""
        with room_on_disk():
            for idx in sorted((self._room.folder / "pack").glob("pack-*.idx")):
                self._publish(idx)
            _sync(self._target)

    def _publish(self, idx: Path) -> None:
        keep = self._target / f"{idx.stem}.keep"
        keep.write_text(self._note)
        self._keeps.append(keep)
        if (self._target / idx.name).exists():  # the same pack was pushed before: others may rely on it
            return
        for file in sorted(idx.parent.glob(f"{idx.stem}.*"), key=lambda f: f.suffix == ".idx"):
            self._moved.append(self._target / file.name)
            file.rename(self._moved[-1])

    def retract(self) -> None:
        """Take the files back, because the branch certainly did not move: no row and no ref names these objects."""
        for file in reversed(self._moved):
            file.rename(self._room.folder / "pack" / file.name)
        self.release()
        self._moved.clear()

    def release(self) -> None:
        """The ref has arrived: from now on the pack is like any other."""
        for keep in self._keeps:
            keep.unlink(missing_ok=True)
        self._keeps.clear()


def sweep_quarantine(store: RepositoryStore, older_than_s: float) -> int:
    """Remove what pushes left behind whose process died; returns how many folders.

    Safe beside running pushes as long as `older_than_s` exceeds the time that the edge allows a push. A pack that was
    published and never released stays protected until its branch's ref has arrived at it.
    """
    limit, rooms = time.time() - older_than_s, dead_quarantines(store, older_than_s)
    for room in rooms:
        shutil.rmtree(room, ignore_errors=True)
    for objects in _object_folders(store.root):
        for keep in (objects / "pack" / name for name in _names(objects / "pack") if name.endswith(".keep")):
            if _older(keep, limit):
                _release_if_reached(store, objects.parent, keep)
    return len(rooms)


def dead_quarantines(store: RepositoryStore, older_than_s: float) -> list[Path]:
    """Folders of pushes that are too old to belong to one that lives."""
    limit = time.time() - older_than_s
    rooms = (
        objects / name
        for objects in _object_folders(store.root)
        for name in _names(objects)
        if name.startswith(PREFIX)
    )
    return [room for room in rooms if _older(room, limit)]


def _object_folders(root: Path) -> Iterator[Path]:
    """The object folder of every store. Stores come and go meanwhile."""
    for repo in (root / org / name for org in _names(root) for name in _names(root / org)):
        yield repo / "base.git" / "objects"
        branches = repo / "branches"
        for part in _names(branches):
            yield from (branches / part / name / "objects" for name in _names(branches / part))


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _older(path: Path, limit: float) -> bool:
    try:
        return path.stat().st_mtime < limit
    except FileNotFoundError:  # its own process was faster
        return False


def _release_if_reached(store: RepositoryStore, folder: Path, keep: Path) -> None:
    try:
        found = re.fullmatch(r"push (\S+) ([0-9a-f]{40})\n", keep.read_text())
    except FileNotFoundError:  # its own process was faster
        return
    if found is None:  # somebody else's
        return
    tip, new = store.read_ref(str(folder.relative_to(store.root)), found[1]), found[2]
    repo = pygit2.Repository(str(folder), pygit2.enums.RepositoryOpenFlag.BARE)
    if tip is None or tip not in repo or new not in repo:
        return
    if tip == new or repo.descendant_of(tip, new):
        keep.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
