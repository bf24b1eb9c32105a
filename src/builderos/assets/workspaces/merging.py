"""Merge one branch into another in memory: files line by line, delivery files entry by entry, nothing lost."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pygit2

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import Branch
from builderos.assets.repositories.service import (
    EMPTY_TREE,
    Batch,
    Conflict,
    Oid,
    RepositoryStore,
    decode_commit,
    diff_trees,
    fresh_objects,
    parents_of,
    three_way,
)
from builderos.core.unit import Unit

from . import delivery
from .content import Content, Draft, TreeFiles, batch_of, tree_of
from .layout import layout_of
from .pushed import still_there

_LINE: Final = 100  # own commits of a source
_TIPS: Final = 300  # tips of a target


class TwoStores:
    """Reads objects of two stores, so that branches of different stores can be compared."""

    def __init__(self, first: pygit2.Repository, second: pygit2.Repository) -> None:
        self._stores = (first, second)

    def read(self, oid: pygit2.Oid, /) -> tuple[int, bytes]:
        """Type number and content; raises KeyError where neither store has the object."""
        try:
            return self._stores[0].read(oid)
        except KeyError:
            return self._stores[1].read(oid)


@dataclass(frozen=True)
class Preview:
    """What a merge would do. `files` are the user's files it changes, without delivery files."""

    batch: Batch
    base: str | None
    ours: TreeFiles
    theirs: TreeFiles
    edits: Mapping[str, Content]
    conflicts: list[Conflict]
    files: list[tuple[str, str, str]]
    entries: list[str]
    repo_id: str

    @property
    def base_tree(self) -> Oid:
        """The tree of the common ancestor; empty where there is none."""
        return tree_of(self.batch, self.base) if self.base else EMPTY_TREE

    @property
    def digest(self) -> str:
        """SHA-256 over exactly what is promoted: changed files with old and new content, and changelog entries.

        It stays the same while the target moves elsewhere, and changes with any change of the diff.
        """
        body = json.dumps([self.files, self.entries], separators=(",", ":"))
        return "sha256:" + hashlib.sha256(body.encode("utf-8", "surrogateescape")).hexdigest()


def stores_of(unit: Unit, source: Branch, target: Branch) -> tuple[pygit2.Repository, pygit2.Repository]:
    """Both branches' stores, made ready."""
    repositories.ready(unit, source)
    repositories.ready(unit, target)
    store = unit.get(RepositoryStore)
    return store.open(source.store), store.open(target.store)


def preview(
    unit: Unit, source: Branch, target: Branch, resolutions: Mapping[str, bytes | None] | None = None
) -> Preview:
    """Merge `source` into `target` without writing anything. `resolutions` settle conflicts by path."""
    ours_repo, theirs_repo = stores_of(unit, target, source)
    batch = Batch(TwoStores(theirs_repo, ours_repo))
    batch.put("tree", b"")
    base = _base_of_line(batch, batch_of(unit, target), ours_repo, source.tip, target.tip)
    base = base or merge_base(theirs_repo, ours_repo, source.tip, target.tip)
    base_tree = tree_of(batch, base) if base else EMPTY_TREE
    ours, theirs = TreeFiles(batch, tree_of(batch, target.tip)), TreeFiles(batch, tree_of(batch, source.tip))
    layout = layout_of(ours)
    skip = _delivery_of(layout, layout_of(theirs))
    # libgit2 merges texts through a store. The base is never it: it must hold nothing that is not merged.
    scratch = ours_repo if source.kind in ("main", "base") else theirs_repo
    merged = three_way(
        batch, scratch, base_tree, ours.tree, theirs.tree, skip, labels=(target.name, source.name)
    )
    settled = resolutions or {}
    edits: dict[str, Content] = dict(merged.edits)
    edits |= {c.path: settled[c.path] for c in merged.conflicts if c.path in settled}
    conflicts = [c for c in merged.conflicts if c.path not in settled]
    files = _changes(batch, base_tree, theirs.tree, skip)
    entries = [e["id"] for e in delivery.changelog.since(ours, theirs, layout)]
    entries += [e["id"] for e in _news(repositories.pending_of(unit, source)[0], ours, layout)]
    return Preview(batch, base, ours, theirs, edits, conflicts, files, entries, target.repo_id)


def _delivery_of(*layouts: delivery.Layout) -> Callable[[str], bool]:
    return lambda path: any(delivery.is_delivery(path, layout) for layout in layouts)


def _changes(batch: Batch, old: Oid, new: Oid, skip: Callable[[str], bool]) -> list[tuple[str, str, str]]:
    return [
        (path, was.oid.hex() if was else "", now.oid.hex() if now else "")
        for path, was, now in diff_trees(batch, old, new)
        if not skip(path)
    ]


def _base_of_line(
    theirs: Batch, ours: Batch, target_repo: pygit2.Repository, source: str, target: str
) -> str | None:
    """`merge_base` of the usual case, without reading all that happened to the target since: the source is a line of
    own commits on a commit that was once the target's tip. None where it is not, or not by a short look.

    None of the own commits is in the target's store, so none is in its history; the first that is has all the
    others that could be behind it.
    """
    at = source
    for _ in range(_LINE):
        if at in target_repo:
            break
        parents = parents_of(theirs.read(bytes.fromhex(at))[1])
        if len(parents) != 1:
            return None
        at = parents[0].hex()
    else:
        return None
    tip = target
    for _ in range(_TIPS):
        if tip == at:
            return at
        parents = parents_of(ours.read(bytes.fromhex(tip))[1])
        if not parents:
            break
        tip = parents[0].hex()
    return None


def merge_base(
    source_repo: pygit2.Repository, target_repo: pygit2.Repository, source: str, target: str
) -> str | None:
    """The best common ancestor. Where one store lacks the other's tip, the newest shared commit of both histories."""
    for repo in (source_repo, target_repo):
        if source in repo and target in repo:
            found = repo.merge_base(source, target)
            return str(found) if found else None
    known = {str(c.id) for c in target_repo.walk(target, pygit2.enums.SortMode.TOPOLOGICAL)}
    for commit in source_repo.walk(source, pygit2.enums.SortMode.TOPOLOGICAL | pygit2.enums.SortMode.TIME):
        if str(commit.id) in known:
            return str(commit.id)
    return None


def compose(unit: Unit, source: Branch, found: Preview, entries: list[dict[str, Any]]) -> TreeFiles:
    """The merged tree: files, delivery files merged by meaning, the source's pending entries, and `entries` of
    this merge.
    """
    base = TreeFiles(found.batch, found.base_tree)
    draft = Draft(found.ours)
    draft.write(found.edits)
    layout = layout_of(found.ours)
    draft.write(delivery.merge_delivery(base, found.ours, found.theirs, layout))
    pushed, memory = repositories.pending_of(unit, source)
    draft.write(delivery.changelog.append(draft, layout, [*_news(pushed, draft, layout), *entries]))
    here, lost = still_there(draft, memory)
    if here:
        draft.write(delivery.memory.upsert(draft, layout, here))
    if lost:
        draft.write(delivery.memory.remove(draft, layout, lost))
    return draft.finish()


def _news(
    pushed: list[dict[str, Any]], files: delivery.Files, layout: delivery.Layout
) -> list[dict[str, Any]]:
    """The entries that a changelog lacks: what pushes left to write stays with their branch after a promotion."""
    if not pushed:
        return []
    known = {item.get("id") for item in delivery.changelog.entries(files, layout)}
    return [entry for entry in pushed if entry["id"] not in known]


def objects_for(
    found: Preview, target_repo: pygit2.Repository, source_tip: str, merged: Oid, commit: Oid
) -> bytes:
    """Everything the target's store lacks of the merge: the source's new commits with their trees and files, the
    result.
    """
    wanted: dict[Oid, None] = {}
    for sha in reversed(list(_missing_commits(found.batch, target_repo, source_tip))):
        data = decode_commit(found.batch.read(sha)[1])
        parent = decode_commit(found.batch.read(data.parents[0])[1]).tree if data.parents else None
        wanted |= dict.fromkeys(fresh_objects(found.batch, data.tree, parent))
        for other in data.parents[1:]:  # a merge brings files that its first parent does not explain
            side = decode_commit(found.batch.read(other)[1]).tree
            wanted |= dict.fromkeys(fresh_objects(found.batch, data.tree, side))
        wanted[sha] = None
    wanted |= dict.fromkeys(fresh_objects(found.batch, merged, found.ours.tree))
    wanted[commit] = None
    return found.batch.pack([o for o in wanted if o in found.batch or pygit2.Oid(raw=o) not in target_repo])


def _missing_commits(batch: Batch, target_repo: pygit2.Repository, tip: str) -> Iterator[Oid]:
    """Commits reachable from `tip` that the target's store lacks, children before parents."""
    todo, seen = [bytes.fromhex(tip)], set[Oid]()
    while todo:
        oid = todo.pop(0)
        if oid in seen or pygit2.Oid(raw=oid) in target_repo:
            continue
        seen.add(oid)
        yield oid
        todo.extend(decode_commit(batch.read(oid)[1]).parents)
