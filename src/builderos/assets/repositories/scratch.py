"""Trees that runs make: kept beside a repository, over what its branches hold, reachable by no ref and no client.

One store per repository, `runs.git`; for runs without one, one per organisation. A step's output is the id of a tree
here, so that two steps with equal output share it and nothing is kept twice.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pygit2

from builderos.core.context import Context
from builderos.core.problems import Problem

from .merge import three_way
from .objects import EMPTY_TREE, Batch, Oid, loose_stream, write_loose
from .patches import patch_of
from .store import RepositoryStore
from .travelling import Travels
from .trees import SUBMODULE, Edit, Entry, diff_trees, edit_tree, lookup, parse_tree, walk


@dataclass(frozen=True, slots=True)
class File:
    """A file of a tree. `mode` as git has it."""

    path: str
    mode: int
    oid: Oid


class Scratch:
    """The trees of one repository's runs. Not shared between threads; cheap to make.

    `below` is the folder of the branch's store that the run started from. Trees that another machine made are brought
    when they are asked for, each by its id.
    """

    def __init__(
        self, store: RepositoryStore, org_id: str, repo_id: str | None, below: str | None = None,
        travels: Travels | None = None,
    ) -> None:  # fmt: skip
        self._travels = travels
        self._folder = f"{org_id}/{repo_id or 'none'}/runs.git"
        store.create(self._folder, head="refs/heads/none", refs={}, alternates=None)
        path = store.path(self._folder)
        self._objects = f"{path}/objects"
        self._repo = pygit2.Repository(str(path), pygit2.enums.RepositoryOpenFlag.BARE)
        if below is not None:
            self._repo.odb.add_disk_alternate(str(store.path(below) / "objects"))
        self._batch = Batch(self._repo)

    @classmethod
    def of(cls, context: Context, org_id: str, repo_id: str | None, below: str | None) -> "Scratch":
        """The trees of this machine, and of the others where there are some."""
        travels = Travels.of(context, org_id, f"{org_id}/{repo_id or 'none'}/runs.git")
        return cls(context.get(RepositoryStore), org_id, repo_id, below, travels)

    def give(self, tree: str, base: str) -> None:
        """Let other machines have a tree; `base` is the one that its run started from. Raises `unavailable`."""
        if self._travels is not None:
            self._travels.give(self._batch, tree, base)

    def have(self, *trees: str) -> None:
        """Bring those trees that are not here. Raises `unavailable`."""
        if self._travels is None:
            return
        for tree in trees:
            oid = bytes.fromhex(tree)
            if oid != EMPTY_TREE and pygit2.Oid(raw=oid) not in self._repo:
                self._travels.bring(self._objects, tree)

    @property
    def batch(self) -> Batch:
        """For whoever reads more than one file of a tree, e.g. compares two."""
        return self._batch

    def tree_of(self, commit: str) -> str:
        """The tree of a commit, as hex. Raises `KeyError`."""
        kind, data = self._batch.read(bytes.fromhex(commit))
        if kind != "commit":
            raise KeyError(commit)
        return data[5:45].decode()

    def files(self, tree: str) -> Iterator[File]:
        """Files and links of a tree (hex), in git's order; submodules are left out."""
        if bytes.fromhex(tree) == EMPTY_TREE:
            return
        self.have(tree)
        for path, mode, oid in walk(self._batch, bytes.fromhex(tree)):
            if mode != SUBMODULE:
                yield File(path, mode, oid)

    def entry(self, tree: str, path: str) -> Entry | None:
        """What a tree says of a path."""
        if bytes.fromhex(tree) == EMPTY_TREE:
            return None
        self.have(tree)
        return lookup(self._batch, bytes.fromhex(tree), path)

    def read(self, oid: Oid) -> bytes:
        """The content of a file. Raises `unavailable` where it is lost."""
        return self._batch.read(oid)[1]

    def put(self, data: bytes, known: Oid | None = None) -> Oid:
        """Keep the content of a file, at once and not in memory; `known`: what lay there before, often the same."""
        batch = Batch(self._repo)
        oid = batch.put("blob", data)
        if oid != known:
            write_loose(self._objects, oid, loose_stream("blob", data))
        return oid

    def tree(self, files: dict[str, Edit], like: str | None = None) -> str:
        """A tree of exactly these files, and of the submodules that `like` has; kept. Raises `invalid_path`."""
        edits: dict[str, Edit | None] = dict(files)
        if like is not None and bytes.fromhex(like) != EMPTY_TREE:
            self.have(like)
            for path, mode, oid in walk(self._batch, bytes.fromhex(like)):
                if mode == SUBMODULE and path not in edits:
                    edits[path] = Edit(oid, mode)
        return self._kept(edit_tree(self._batch, None, edits))

    def edit(self, tree: str, edits: Mapping[str, Edit | None]) -> str:
        """A tree with these paths changed (None: deleted); kept. Raises `invalid_path`."""
        self.have(tree)
        return self._kept(edit_tree(self._batch, _or_none(bytes.fromhex(tree)), edits))

    def verify(self, tree: str) -> None:
        """Hash all that a tree holds. Raises `hash_mismatch` for what is not what its name says, or is not there;
        `unavailable` where another machine has it and cannot be asked."""
        self.have(tree)
        self.have(tree)
        waiting, seen = [bytes.fromhex(tree)], set[Oid]()
        while waiting:
            oid = waiting.pop()
            if oid in seen or oid == EMPTY_TREE:
                continue
            seen.add(oid)
            kind, data = self._hashed(oid)
            if kind == "tree":
                waiting += [below for mode, below in parse_tree(data).values() if mode != SUBMODULE]

    def _hashed(self, oid: Oid) -> tuple[str, bytes]:
        batch = Batch(self._repo)
        try:
            kind, data = batch.read(oid)
        except (Problem, pygit2.GitError):
            kind, data = "blob", b""
        if batch.put(kind, data) != oid:
            raise Problem(
                "hash_mismatch",
                f"the object {oid.hex()} is not what was kept",
                hint="Run `builderos doctor`.",
            )
        return kind, data

    def merge(self, base: str, ours: str, theirs: str) -> str | list[str]:
        """Ours with what theirs changed since the base; or the paths that need a person."""
        if theirs in (ours, base):
            return ours
        if ours == base:
            return theirs
        self.have(base, ours, theirs)
        mine = bytes.fromhex(ours)
        merged = three_way(self._batch, self._repo, bytes.fromhex(base), mine, bytes.fromhex(theirs))
        if not merged.clean:
            return [conflict.path for conflict in merged.conflicts]
        return self._kept(edit_tree(self._batch, mine, merged.edits))

    def changes(self, base: str, tree: str) -> dict[str, tuple[Entry | None, Entry | None]]:
        """Paths that differ, with what was there and what is."""
        self.have(base, tree)
        a, b = bytes.fromhex(base), bytes.fromhex(tree)
        return {path: (was, now) for path, was, now in diff_trees(self._batch, _or_none(a), _or_none(b))}

    @staticmethod
    def hunks(was: bytes, now: bytes) -> list[tuple[int, int, int, int]]:
        """What differs between two texts: first line and count, before and after."""
        made: Any = pygit2.Patch.create_from(was, now, context_lines=0)
        return [(h.old_start, h.old_lines, h.new_start, h.new_lines) for h in made.hunks]

    @staticmethod
    def patch(path: str, was: bytes, now: bytes) -> tuple[str, int, int]:
        """The unified diff of a text file, and how many lines it adds and deletes."""
        data, added, deleted = patch_of(path, was, now)
        return data.decode("utf-8", "replace"), added, deleted

    def _kept(self, tree: Oid) -> str:
        for oid in self._batch:
            kind, data = self._batch.read(oid)
            write_loose(self._objects, oid, loose_stream(kind, data))
        if tree == EMPTY_TREE:
            write_loose(self._objects, tree, loose_stream("tree", b""))
        return tree.hex()


def _or_none(tree: Oid) -> Oid | None:
    return None if tree == EMPTY_TREE else tree
