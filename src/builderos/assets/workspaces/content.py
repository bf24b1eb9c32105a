"""New content over a branch: reads see what was written, nothing touches the disk, one tree comes out."""

from collections.abc import Mapping

import pygit2

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import Branch
from builderos.assets.repositories.service import (
    EMPTY_TREE,
    Batch,
    Edit,
    Entry,
    ObjectCache,
    Oid,
    RepositoryStore,
    edit_tree,
    lookup,
    parse_tree,
)
from builderos.core.unit import Unit

from . import delivery

Content = bytes | Edit | None
"""What a path is to hold: bytes, an object that the store has, or nothing."""


def batch_of(unit: Unit, branch: Branch) -> Batch:
    """An empty batch over a branch's store, which is made ready first."""
    repositories.ready(unit, branch)
    repo = unit.get(RepositoryStore).open(branch.store)
    return Batch(repo, cache=unit.get(ObjectCache), store=branch.store)


def repository_of(unit: Unit, branch: Branch) -> pygit2.Repository:
    """libgit2's view of a branch's store, which is made ready first."""
    repositories.ready(unit, branch)
    return unit.get(RepositoryStore).open(branch.store)


def tip_of(unit: Unit, branch: Branch) -> "TreeFiles":
    """The files at a branch's tip, over an empty batch."""
    return files_of(unit, branch, branch.tip)


def files_of(unit: Unit, branch: Branch, commit: str) -> "TreeFiles":
    """The files of a commit that the caller may see (`history.resolve`), over an empty batch."""
    batch = batch_of(unit, branch)
    return TreeFiles(batch, tree_of(batch, commit))


def file_at(unit: Unit, branch: Branch, path: str) -> str | None:
    """The text of a file at a branch's tip; None where there is none, or no text."""
    data = tip_of(unit, branch).read(path)
    try:
        return None if data is None else data.decode()
    except UnicodeDecodeError:
        return None


def tree_of(batch: Batch, commit: str) -> Oid:
    """The tree of a commit, read from its first line. Raises KeyError for an unknown commit."""
    kind, data = batch.read(bytes.fromhex(commit))
    if kind != "commit":
        raise KeyError(commit)
    return bytes.fromhex(data[5:45].decode())


class TreeFiles:
    """One tree as `delivery.Files`."""

    def __init__(self, batch: Batch, tree: Oid) -> None:
        self.batch = batch
        self.tree = tree
        self._entries: dict[str, Entry | None] = {}  # a commit asks for some paths three or four times

    def entry(self, path: str) -> Entry | None:
        """What the tree says of a path."""
        if path not in self._entries:
            self._entries[path] = None if self.tree == EMPTY_TREE else lookup(self.batch, self.tree, path)
        return self._entries[path]

    def read(self, path: str, /) -> bytes | None:
        """The bytes of a regular file; None for anything else."""
        entry = self.entry(path)
        if entry is None or not entry.is_file:
            return None
        return self.batch.read(entry.oid)[1]

    def list(self, folder: str, /) -> list[str]:
        """Names directly inside a folder."""
        entry = self.entry(folder)
        if entry is None or not entry.is_tree:
            return []
        return [name.decode("utf-8", "surrogateescape") for name in parse_tree(self.batch.read(entry.oid)[1])]


class Draft:
    """Edits over a tree, as `delivery.Files`. `finish` makes one new tree of all of them."""

    def __init__(self, below: TreeFiles) -> None:
        self.below = below
        self.edits: dict[str, Content] = {}
        self._bytes: dict[str, bytes | None] = {}
        self._view = delivery.Overlay(below, self._bytes)

    def write(self, edits: Mapping[str, Content]) -> None:
        """Lay edits over what was written before."""
        for path, content in edits.items():
            self.edits[path] = content
            self._bytes[path] = (
                self.below.batch.read(content.oid)[1] if isinstance(content, Edit) else content
            )

    def read(self, path: str, /) -> bytes | None:
        """The bytes of a file after the edits so far."""
        return self._view.read(path)

    def list(self, folder: str, /) -> list[str]:
        """Names directly inside a folder after the edits so far."""
        return self._view.list(folder)

    def finish(self) -> TreeFiles:
        """The new tree. Raises `invalid_path` where a folder or link is in the way of an edit."""
        batch = self.below.batch
        ready: dict[str, Edit | None] = {
            path: Edit(batch.put("blob", content)) if isinstance(content, bytes) else content
            for path, content in self.edits.items()
        }
        return TreeFiles(batch, edit_tree(batch, self.below.tree, ready))
