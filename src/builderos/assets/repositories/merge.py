"""Three-way merge of trees at the cost of what changed: what theirs changed since the base is applied to ours.

A path that only one side changed needs no look inside. A text that both changed is merged by libgit2's file merge.
Only where a missing or doubled file may be the trace of a rename is libgit2's merge of trees asked: it follows renames.

merge: base = merge base, ours = target, theirs = source.
revert: base = the bad commit, ours = tip, theirs = the bad commit's parent.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, cast

import pygit2
from pygit2.enums import FileMode, ObjectType

from .objects import Batch, Oid
from .trees import BLOB, EXECUTABLE, Edit, Entry, diff_trees, edit_tree, lookup, walk

ConflictKind: TypeAlias = Literal[
    "content",  # both changed the same lines
    "binary",  # both changed a file that is no text
    "both_added",  # both added different files under one name
    "deleted_by_ours",  # ours deleted what theirs changed
    "deleted_by_theirs",  # theirs deleted what ours changed
    "type",  # a link, a submodule or a change of kind is involved
    "file_folder",  # one side has a file where the other has a folder
    "rename",  # renamed in two ways, or renamed here and deleted there
]

_STRUCTURAL: Final = frozenset({"both_added", "deleted_by_ours", "deleted_by_theirs", "file_folder"})


@dataclass(frozen=True, slots=True)
class Conflict:
    """One path that needs a person. An id is None where that side has no file; `text` has the markers."""

    path: str
    kind: ConflictKind
    base: Oid | None = None
    ours: Oid | None = None
    theirs: Oid | None = None
    text: str | None = None


@dataclass(slots=True)
class Merge:
    """What to do to ours: `trees.edit_tree(batch, ours, merge.edits)`, if there are no conflicts."""

    edits: dict[str, Edit | None] = field(default_factory=dict[str, Edit | None])
    conflicts: list[Conflict] = field(default_factory=list[Conflict])

    @property
    def clean(self) -> bool:
        """No path needs a person."""
        return not self.conflicts


def three_way(
    batch: Batch, repo: pygit2.Repository, base: Oid, ours: Oid, theirs: Oid,
    skip: Callable[[str], bool] | None = None, *, labels: tuple[str, str] = ("ours", "theirs"),
) -> Merge:  # fmt: skip
    """Merge the changes base → theirs into ours.

    Paths for which `skip` is true are left as ours has them, whatever theirs did: their owner merges them by
    meaning. Merged texts are put into `batch`. Blobs of theirs are not: they are in its store
    (`fresh_objects` finds them). `labels` name the sides in conflict markers. Nothing is written that a ref
    could reach.
    """
    skipped = skip or _never
    state = _State(batch, repo, base, ours, labels)
    for path, was, now in diff_trees(batch, base, theirs):
        if not skipped(path):
            state.take(path, was, now)
    state.check_folders()
    result = Merge(state.edits, sorted(state.conflicts, key=lambda conflict: conflict.path))
    if state.may_hide_rename(skipped) or any(conflict.kind in _STRUCTURAL for conflict in result.conflicts):
        renamed = _with_renames(batch, repo, base, ours, theirs, skipped)
        if renamed.clean or result.clean:
            return renamed
    return result


def _never(_path: str) -> bool:
    return False


class _State:
    """One merge under way, path by path."""

    def __init__(
        self, batch: Batch, repo: pygit2.Repository, base: Oid, ours: Oid, labels: tuple[str, str]
    ) -> None:
        self.batch = batch
        self.repo = repo
        self.base = base
        self.ours = ours
        self.labels = labels
        self.edits: dict[str, Edit | None] = {}
        self.conflicts: list[Conflict] = []
        self._added: list[str] = []  # by theirs, where ours has no file
        self._gone_in_both = False
        self._theirs_added = False

    def take(self, path: str, base: Entry | None, theirs: Entry | None) -> None:
        """Apply one path that theirs changed."""
        ours = lookup(self.batch, self.ours, path)
        if ours is not None and ours.is_tree:
            ours = None
        self._theirs_added |= base is None
        if ours == theirs:
            self._gone_in_both |= theirs is None
        elif ours == base:
            self.edits[path] = _edit(theirs)
            if ours is None:
                self._added.append(path)
        elif ours is None or theirs is None:
            kind: ConflictKind = "deleted_by_ours" if ours is None else "deleted_by_theirs"
            self._conflict(path, kind, base, ours, theirs)
        else:
            self._both_changed(path, base, ours, theirs)

    def check_folders(self) -> None:
        """Refuse additions at a place that is still a folder in ours, or below one that is still a file
        there.
        """
        for path in self._added:
            if not self._place_is_free(path):
                edit = self.edits.pop(path)
                theirs = None if edit is None else edit.oid
                self.conflicts.append(Conflict(path, "file_folder", theirs=theirs))

    def may_hide_rename(self, skipped: Callable[[str], bool]) -> bool:
        """A file is gone from both sides while one of them has new files: one may have moved what the other
        deleted.
        """
        if not self._gone_in_both:
            return False
        return self._theirs_added or any(
            was is None and not skipped(path) for path, was, _ in diff_trees(self.batch, self.base, self.ours)
        )

    def _place_is_free(self, path: str) -> bool:
        for above in _folders_above(path):
            entry = lookup(self.batch, self.ours, above)
            if entry is None:
                break
            if not entry.is_tree and self.edits.get(above, entry) is not None:
                return False
        below = lookup(self.batch, self.ours, path)
        if below is None or not below.is_tree:
            return True
        return all(self.edits.get(inner, below) is None for inner, _, _ in walk(self.batch, self.ours, path))

    def _conflict(
        self, path: str, kind: ConflictKind, base: Entry | None, ours: Entry | None, theirs: Entry | None,
        text: str | None = None,
    ) -> None:  # fmt: skip
        self.conflicts.append(Conflict(path, kind, _oid(base), _oid(ours), _oid(theirs), text))

    def _both_changed(self, path: str, base: Entry | None, ours: Entry, theirs: Entry) -> None:
        if not (ours.is_file and theirs.is_file and (base is None or base.is_file)):
            self._conflict(path, "type", base, ours, theirs)
            return
        mode = _merged_mode(base, ours, theirs)
        if ours.oid == theirs.oid or (base is not None and theirs.oid == base.oid):
            self.edits[path] = Edit(ours.oid, mode)
        elif base is not None and ours.oid == base.oid:
            self.edits[path] = Edit(theirs.oid, mode)
        else:
            self._merge_text(path, base, ours, theirs, mode)

    def _merge_text(self, path: str, base: Entry | None, ours: Entry, theirs: Entry, mode: int) -> None:
        oids = (_oid(base), ours.oid, theirs.oid)
        if any(oid is not None and b"\0" in self.batch.read(oid)[1] for oid in oids):
            self._conflict(path, "binary", base, ours, theirs)
            return
        clean, merged = _merge_texts(self.batch, self.repo, oids, self.labels)
        if clean:
            self.edits[path] = Edit(self.batch.put("blob", merged), mode)
        else:
            text = merged.decode("utf-8", "replace")
            self._conflict(path, "both_added" if base is None else "content", base, ours, theirs, text)


def _oid(entry: Entry | None) -> Oid | None:
    return None if entry is None else entry.oid


def _edit(entry: Entry | None) -> Edit | None:
    if entry is None:
        return None
    return Edit(entry.oid, _plain_mode(entry.mode) if entry.is_file else entry.mode)


def _plain_mode(mode: int) -> int:
    return EXECUTABLE if mode & 0o111 else BLOB


def _merged_mode(base: Entry | None, ours: Entry, theirs: Entry) -> int:
    """The mode of a file that both changed: the one that differs from the base; without a base executable
    wins.
    """
    mine, other = _plain_mode(ours.mode), _plain_mode(theirs.mode)
    if base is None:
        return max(mine, other)
    return other if mine == _plain_mode(base.mode) else mine


def _folders_above(path: str) -> Iterator[str]:
    at = path.find("/")
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)


def _merge_texts(
    batch: Batch, repo: pygit2.Repository, oids: tuple[Oid | None, Oid, Oid], labels: tuple[str, str]
) -> tuple[bool, bytes]:
    """libgit2's line merge of (base, ours, theirs), none with NUL bytes: whether it is clean, and the text.

    pygit2 reads the sides from the store and decodes the result as UTF-8. Texts of another encoding are
    therefore passed byte for byte as the characters U+0000–U+00FF, which changes no line end and no equality
    of lines.
    """
    plain = all(oid is None or _is_utf8(batch.read(oid)[1]) for oid in oids)

    def side(oid: Oid | None, label: str) -> pygit2.IndexEntry | None:
        if oid is None:
            return None
        stored = pygit2.Oid(raw=oid)
        if not plain:
            stored = repo.write(ObjectType.BLOB, batch.read(oid)[1].decode("latin-1").encode())
        elif stored not in repo:  # new in this batch, or held by the other branch's store
            stored = repo.write(ObjectType.BLOB, batch.read(oid)[1])
        return pygit2.IndexEntry(label, stored, FileMode.BLOB)

    base, ours, theirs = oids
    result = repo.merge_file_from_index(side(base, "base"), side(ours, labels[0]), side(theirs, labels[1]))
    return result.automergeable, result.contents.encode("utf-8" if plain else "latin-1")


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _with_renames(
    batch: Batch, repo: pygit2.Repository, base: Oid, ours: Oid, theirs: Oid, skipped: Callable[[str], bool]
) -> Merge:
    """The merge as libgit2 does it on trees, following renames.

    The trees it is given hold only what differs from the base on either side: only such files can be the source or
    the target of a rename, and the cost stays that of the change.
    """
    paths = {
        path for side in (ours, theirs) for path, _, _ in diff_trees(batch, base, side) if not skipped(path)
    }
    small = [_only(batch, repo, tree, paths) for tree in (base, ours, theirs)]
    index = repo.merge_trees(small[0].hex(), small[1].hex(), small[2].hex())
    result = Merge()
    for trio in index.conflicts or ():
        was, mine, other = (None if entry is None else entry.id.raw for entry in trio)
        path = next(os.fspath(entry.path) for entry in reversed(trio) if entry is not None)
        result.conflicts.append(Conflict(path, "rename", was, mine, other))
    result.conflicts += (Conflict(path, "file_folder") for path in _files_that_are_folders(index))
    if result.conflicts:
        return result
    theirs_oids = {now.oid for _, _, now in diff_trees(batch, base, theirs) if now is not None}
    for path, _, now in diff_trees(batch, small[1], index.write_tree(repo).raw):
        result.edits[path] = _edit(now)
        if now is not None and now.is_file and now.oid not in theirs_oids:
            batch.put(
                "blob", repo.read(pygit2.Oid(raw=now.oid))[1]
            )  # libgit2 has just merged it: the journal must carry it
    return result


def _only(batch: Batch, repo: pygit2.Repository, tree: Oid, paths: set[str]) -> Oid:
    """A tree of just these of its files, stored where libgit2 finds it and no ref reaches it."""
    edits: dict[str, Edit | None] = {}
    for path in paths:
        entry = lookup(batch, tree, path)
        if entry is None or entry.is_tree:
            continue
        edits[path] = _edit(entry)
        if pygit2.Oid(raw=entry.oid) not in repo:
            repo.write(ObjectType.BLOB, batch.read(entry.oid)[1])
    scratch = Batch(repo)
    result = edit_tree(scratch, None, edits)
    for oid in scratch:
        repo.write(ObjectType.TREE, scratch.read(oid)[1])
    return result


def _files_that_are_folders(index: pygit2.Index) -> list[str]:
    """Names that libgit2 (1.9) merged into a file and a folder at once; `write_tree` would drop the file silently."""
    paths = {os.fspath(entry.path) for entry in cast("Iterable[pygit2.IndexEntry]", index)}
    return sorted({above for path in paths for above in _folders_above(path) if above in paths})
