"""Every merge is held against libgit2's merge of the same three trees, with rename detection as git has it."""

from collections.abc import Mapping
from pathlib import Path

import pygit2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pygit2.enums import MergeFlag

from builderos.assets.repositories.merge import Conflict, Merge, three_way
from builderos.assets.repositories.objects import EMPTY_TREE, Batch, Oid
from builderos.assets.repositories.trees import (
    BLOB,
    EXECUTABLE,
    LINK,
    SUBMODULE,
    Edit,
    edit_tree,
    format_tree,
    lookup,
    walk,
)

from .oracle import flush, folders, new_repo, plain, tree_of
from .random_trees import tidy

Side = Mapping[str, bytes | tuple[int, bytes]]

LINES = [b"line %d\n" % number for number in range(12)]
TEXT = b"".join(LINES)


def text(**changes: str) -> bytes:
    """TEXT with lines replaced: `text(l3="x")`."""
    lines = list(LINES)
    for name, value in changes.items():
        lines[int(name[1:])] = value.encode()
    return b"".join(lines)


OTHER = b"".join(b"quite different %d\n" % number for number in range(12))

# name: base, ours, theirs, kinds of conflict ("" = clean)
CASES: dict[str, tuple[Side, Side, Side, str]] = {
    "nothing changed": ({"a": TEXT}, {"a": TEXT}, {"a": TEXT}, ""),
    "only ours changed": ({"a": TEXT}, {"a": text(l1="x\n")}, {"a": TEXT}, ""),
    "only theirs changed": ({"a": TEXT}, {"a": TEXT}, {"a": text(l1="x\n")}, ""),
    "both the same change": ({"a": TEXT}, {"a": OTHER}, {"a": OTHER}, ""),
    "different files": ({"a": TEXT, "b": TEXT}, {"a": OTHER, "b": TEXT}, {"a": TEXT, "b": OTHER}, ""),
    "different lines": ({"a": TEXT}, {"a": text(l1="x\n")}, {"a": text(l9="y\n")}, ""),
    "the same line": ({"a": TEXT}, {"a": text(l1="x\n")}, {"a": text(l1="y\n")}, "content"),
    "neighbouring lines": ({"a": TEXT}, {"a": text(l4="x\n")}, {"a": text(l5="y\n")}, "content"),
    "both append": ({"a": TEXT}, {"a": TEXT + b"x\n"}, {"a": TEXT + b"y\n"}, "content"),
    "one prepends, one appends": ({"a": TEXT}, {"a": b"x\n" + TEXT}, {"a": TEXT + b"y\n"}, ""),
    "no newline at the end": ({"a": TEXT[:-1]}, {"a": b"x\n" + TEXT[:-1]}, {"a": TEXT[:-1] + b"y"}, ""),
    "windows line ends": (
        {"a": TEXT.replace(b"\n", b"\r\n")},
        {"a": text(l1="x\n").replace(b"\n", b"\r\n")},
        {"a": text(l9="y\n").replace(b"\n", b"\r\n")},
        "",
    ),
    "latin-1 text": (
        {"a": TEXT + b"\xe9\n"},
        {"a": text(l1="x\n") + b"\xe9\n"},
        {"a": TEXT + b"\xe9\n\xff\xfe\n"},
        "",
    ),
    "latin-1 conflict": ({"a": b"\xe9\n"}, {"a": b"\xe8\n"}, {"a": b"\xea\n"}, "content"),
    "ours emptied, theirs changed": ({"a": TEXT}, {"a": b""}, {"a": text(l1="x\n")}, "content"),
    "both shortened": ({"a": TEXT}, {"a": b"".join(LINES[4:])}, {"a": b"".join(LINES[:8])}, ""),
    "binary, one side": ({"a": b"\0a"}, {"a": b"\0a"}, {"a": b"\0b"}, ""),
    "binary, both": ({"a": b"\0a\n" + TEXT}, {"a": b"\0b\n" + TEXT}, {"a": b"\0a\n" + TEXT + b"x"}, "binary"),
    "text became binary": ({"a": TEXT}, {"a": TEXT + b"\0"}, {"a": text(l1="x\n")}, "binary"),
    "both add the same": ({}, {"a": TEXT}, {"a": TEXT}, ""),
    "both add, different": ({}, {"a": TEXT}, {"a": OTHER}, "both_added"),
    "both add, alike": ({}, {"a": TEXT}, {"a": text(l3="x\n")}, "both_added"),
    "both add, one empty": ({}, {"a": b""}, {"a": TEXT}, ""),
    "both add, one executable": ({}, {"a": TEXT}, {"a": (EXECUTABLE, TEXT)}, ""),
    "ours deleted": ({"a": TEXT, "b": OTHER}, {"b": OTHER}, {"a": TEXT, "b": OTHER}, ""),
    "theirs deleted": ({"a": TEXT, "b": OTHER}, {"a": TEXT, "b": OTHER}, {"b": OTHER}, ""),
    "both deleted": ({"a": TEXT, "b": OTHER}, {"b": OTHER}, {"b": OTHER}, ""),
    "ours deleted, theirs changed": ({"a": TEXT}, {}, {"a": text(l1="x\n")}, "deleted_by_ours"),
    "theirs deleted, ours changed": ({"a": TEXT}, {"a": text(l1="x\n")}, {}, "deleted_by_theirs"),
    "ours executable, theirs content": ({"a": TEXT}, {"a": (EXECUTABLE, TEXT)}, {"a": text(l1="x\n")}, ""),
    "ours content, theirs executable": ({"a": TEXT}, {"a": text(l1="x\n")}, {"a": (EXECUTABLE, TEXT)}, ""),
    "both content, theirs executable": (
        {"a": TEXT},
        {"a": text(l1="x\n")},
        {"a": (EXECUTABLE, text(l9="y\n"))},
        "",
    ),
    "theirs not executable any more": ({"a": (EXECUTABLE, TEXT)}, {"a": (EXECUTABLE, OTHER)}, {"a": TEXT}, ""),
    "theirs link": ({"a": TEXT}, {"a": TEXT}, {"a": (LINK, b"b")}, ""),
    "theirs link, ours changed": ({"a": TEXT}, {"a": text(l1="x\n")}, {"a": (LINK, b"b")}, "type"),
    "both links": ({"a": (LINK, b"x")}, {"a": (LINK, b"y")}, {"a": (LINK, b"z")}, "type"),
    "theirs file became folder": ({"a": TEXT}, {"a": TEXT}, {"a/b": OTHER}, ""),
    "theirs folder became file": ({"a/b": TEXT, "a/c": TEXT}, {"a/b": TEXT, "a/c": TEXT}, {"a": OTHER}, ""),
    "file became folder, ours changed it": (
        {"a": TEXT},
        {"a": text(l1="x\n")},
        {"a/b": OTHER},
        "deleted_by_theirs file_folder",
    ),
    "folder became file, ours changed in it": (
        {"a/b": TEXT},
        {"a/b": text(l1="x\n")},
        {"a": OTHER},
        "deleted_by_theirs file_folder",
    ),
    "folder became file, ours added in it": ({"a/b": TEXT}, {"a/b": TEXT, "a/c": OTHER}, {"a": b"new"}, "file_folder"),
    "ours added file, theirs folder": ({}, {"a": TEXT}, {"a/b/c": OTHER}, "file_folder"),
    "ours added folder, theirs file": ({}, {"a/b/c": TEXT}, {"a": OTHER}, "file_folder"),
    "both file to folder": ({"a": TEXT}, {"a/b": OTHER}, {"a/c": b"other\n" + OTHER}, ""),
    "ours renamed, theirs changed": ({"a": TEXT}, {"b": TEXT}, {"a": text(l1="x\n")}, ""),
    "theirs renamed, ours changed": ({"a": TEXT}, {"a": text(l1="x\n")}, {"b": TEXT}, ""),
    "theirs renamed and changed, ours changed": ({"a": TEXT}, {"a": text(l1="x\n")}, {"d/b": text(l9="y\n")}, ""),
    "both renamed alike, one changed": ({"a": TEXT}, {"b": text(l1="x\n")}, {"b": TEXT}, ""),
    "both renamed alike, both changed": ({"a": TEXT}, {"b": text(l1="x\n")}, {"b": text(l9="y\n")}, "both_added"),
    "renamed in two ways": ({"a": TEXT}, {"b": TEXT}, {"c": TEXT}, "rename"),
    "renamed by ours, deleted by theirs": ({"a": TEXT}, {"b": TEXT}, {}, "rename"),
    "renamed by theirs, deleted by ours": ({"a": TEXT}, {}, {"b": TEXT}, "rename"),
    "folder renamed by ours, file changed by theirs": (
        {"d/a": TEXT, "d/b": OTHER},
        {"e/a": TEXT, "e/b": OTHER},
        {"d/a": TEXT, "d/b": OTHER + b"more\n"},
        "",
    ),
    "renamed and conflicting": ({"a": TEXT}, {"b": text(l1="x\n")}, {"a": text(l1="y\n")}, "deleted_by_ours"),
    "no common base": ({}, {"a": TEXT}, {"b": OTHER}, ""),
    "clean and conflicting paths": (
        {"a": TEXT, "b": TEXT},
        {"a": text(l1="x\n"), "b": TEXT},
        {"a": text(l1="y\n"), "b": OTHER, "c": b"new"},
        "content",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> pygit2.Repository:
    return new_repo(tmp_path_factory.mktemp("merge") / "r.git")


def stored(repo: pygit2.Repository, side: Side) -> Oid:
    batch = Batch(repo)
    tree = tree_of(batch, plain(side))
    flush(repo, batch)
    return tree


def by_libgit2(
    repo: pygit2.Repository, trees: tuple[Oid, Oid, Oid], flags: MergeFlag = MergeFlag.FIND_RENAMES
) -> Oid | None:
    """libgit2's tree, None for a conflict.

    A name that it merged into file and folder at once is a conflict, too: the tree it writes then lacks the file.
    """
    base, ours, theirs = (pygit2.Oid(raw=tree) for tree in trees)
    index = repo.merge_trees(base, ours, theirs, flags=flags)
    paths = [str(entry.path) for entry in index]
    if index.conflicts is not None or folders(paths) & set(paths):
        return None
    return index.write_tree(repo).raw


def merged(repo: pygit2.Repository, trees: tuple[Oid, Oid, Oid]) -> tuple[Merge, Oid | None]:
    batch = Batch(repo)
    merge = three_way(batch, repo, *trees)
    return merge, edit_tree(batch, trees[1], merge.edits) if merge.clean else None


@pytest.mark.parametrize("name", CASES)
def test_a_merge_ends_as_libgit2s_does(repo: pygit2.Repository, name: str) -> None:
    *sides, kinds = CASES[name]
    base, ours, theirs = (stored(repo, side) for side in sides)
    merge, tree = merged(repo, (base, ours, theirs))
    assert {conflict.kind for conflict in merge.conflicts} == set(kinds.split()), merge.conflicts
    assert tree == by_libgit2(repo, (base, ours, theirs))


@pytest.mark.parametrize("name", CASES)
def test_a_merge_the_other_way_round_agrees_too(repo: pygit2.Repository, name: str) -> None:
    *sides, _ = CASES[name]
    base, ours, theirs = (stored(repo, side) for side in sides)
    _, tree = merged(repo, (base, theirs, ours))
    assert tree == by_libgit2(repo, (base, theirs, ours))


NAMES = st.lists(st.sampled_from(["a", "b", "a.c", "d"]), min_size=1, max_size=3).map("/".join)
BODIES = st.lists(st.sampled_from([*LINES[:5], b"x\n", b"y\n"]), max_size=8).map(b"".join) | st.sampled_from(
    [TEXT, OTHER]
)
LEAVES = st.tuples(st.sampled_from([BLOB, BLOB, BLOB, EXECUTABLE]), BODIES) | st.sampled_from(
    [(LINK, b"x"), (LINK, b"y")]
)


@st.composite
def three_sides(draw: st.DrawFn) -> list[dict[str, tuple[int, bytes]]]:
    """A base and two sides made from it by a few changes each: edits, deletions, additions, renames."""
    base = tidy(draw(st.dictionaries(NAMES, LEAVES, max_size=6)))
    return [base, draw(changed(base)), draw(changed(base))]


@st.composite
def changed(draw: st.DrawFn, base: dict[str, tuple[int, bytes]]) -> dict[str, tuple[int, bytes]]:
    side = dict(base)
    for _ in range(draw(st.integers(0, 4))):
        path = draw(st.sampled_from(sorted(side)) if side else NAMES)
        match draw(st.sampled_from(["write", "append", "prepend", "mode", "delete", "rename", "add"])):
            case "write":
                side[path] = draw(LEAVES)
            case "append" if path in side and side[path][0] != LINK:
                side[path] = (side[path][0], side[path][1] + draw(st.sampled_from(LINES)))
            case "prepend" if path in side and side[path][0] != LINK:
                side[path] = (side[path][0], draw(st.sampled_from(LINES)) + side[path][1])
            case "mode" if path in side:
                side[path] = (draw(st.sampled_from([BLOB, EXECUTABLE])), side[path][1])
            case "delete":
                side.pop(path, None)
            case "rename" if path in side:
                side[draw(NAMES)] = side.pop(path)
            case _:
                side[draw(NAMES)] = draw(LEAVES)
    return tidy(side)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(three_sides())
def test_random_merges_agree_with_libgit2(
    repo: pygit2.Repository, sides: list[dict[str, tuple[int, bytes]]]
) -> None:
    base, ours, theirs = (stored(repo, side) for side in sides)
    _, tree = merged(repo, (base, ours, theirs))
    wanted = by_libgit2(repo, (base, ours, theirs))
    if wanted is None and tree is not None:
        # libgit2 also calls it a conflict where both sides end with the same file and one of them got it by renaming.
        wanted = by_libgit2(repo, (base, ours, theirs), MergeFlag(0))
    assert tree == wanted


# ------------------------------------------------------------------------------------------------ what comes back


def test_a_conflict_says_who_has_what_and_shows_both_texts(repo: pygit2.Repository) -> None:
    trees = [stored(repo, {"a": it}) for it in (TEXT, text(l1="mine\n"), text(l1="yours\n"))]
    batch = Batch(repo)
    merge = three_way(batch, repo, trees[0], trees[1], trees[2], labels=("sandbox-golden-otter", "main"))
    (conflict,) = merge.conflicts
    oids = [lookup(batch, tree, "a") for tree in trees]
    assert [conflict.base, conflict.ours, conflict.theirs] == [None if it is None else it.oid for it in oids]
    assert conflict.path == "a"
    assert (
        conflict.text
        == text(l1="<<<<<<< sandbox-golden-otter\nmine\n=======\nyours\n>>>>>>> main\n").decode()
    )
    assert len(batch) == 0


def test_paths_that_are_skipped_stay_as_ours_has_them_whatever_happened(repo: pygit2.Repository) -> None:
    base = stored(repo, {"log": b"1\n", "gone": TEXT, "a": TEXT})
    ours = stored(repo, {"log": b"1\n2\n", "gone": text(l1="x\n"), "a": TEXT})
    theirs = stored(repo, {"log": b"1\n3\n", "a": OTHER, "new/log": b"n"})
    batch = Batch(repo)
    merge = three_way(batch, repo, base, ours, theirs, lambda path: path in ("log", "gone", "new/log"))
    assert merge.clean
    assert list(merge.edits) == ["a"]


def test_skipped_paths_are_left_alone_also_where_a_rename_needs_the_slow_way(repo: pygit2.Repository) -> None:
    base = stored(repo, {"log": b"1\n", "a": TEXT})
    ours = stored(repo, {"log": b"1\n2\n", "b": TEXT})
    theirs = stored(repo, {"log": b"1\n3\n", "a": text(l1="x\n")})
    batch = Batch(repo)
    merge = three_way(batch, repo, base, ours, theirs, lambda path: path == "log")
    after = edit_tree(batch, ours, merge.edits)
    assert {path: batch.read(oid)[1] for path, _, oid in walk(batch, after)} == {
        "b": text(l1="x\n"),
        "log": b"1\n2\n",
    }


def test_merged_texts_are_in_the_batch_so_that_the_journal_carries_them(tmp_path: Path) -> None:
    for name in (
        "different lines",
        "ours renamed, theirs changed",
        "theirs renamed and changed, ours changed",
    ):
        repo = new_repo(tmp_path / f"{name}.git")
        *sides, _ = CASES[name]
        base, ours, theirs = (stored(repo, side) for side in sides)
        other = new_repo(tmp_path / f"{name} other.git")
        for side in sides:
            stored(other, side)
        batch = Batch(repo)
        tree = edit_tree(batch, ours, three_way(batch, repo, base, ours, theirs).edits)
        flush(other, batch)
        assert {path for path, _, oid in walk(Batch(other), tree) if oid.hex() in other} == {
            path for path, _, _ in walk(batch, tree)
        }


def test_trees_that_exist_only_in_the_batch_are_merged(tmp_path: Path) -> None:
    for name in ("different lines", "ours renamed, theirs changed", "renamed in two ways", "no common base"):
        repo = new_repo(tmp_path / f"{name}.git")
        *sides, kinds = CASES[name]
        batch = Batch(repo)
        base, ours, theirs = (tree_of(batch, plain(side)) for side in sides)
        assert {conflict.kind for conflict in three_way(batch, repo, base, ours, theirs).conflicts} == set(
            kinds.split()
        )


def test_a_revert_is_a_merge_with_the_bad_commit_as_base(repo: pygit2.Repository) -> None:
    before = stored(repo, {"a": TEXT, "b": OTHER})
    bad = stored(repo, {"a": text(l1="bad\n"), "c": b"added by mistake"})
    tip = stored(repo, {"a": text(l1="bad\n", l9="good\n"), "c": b"added by mistake", "d": b"later"})
    _, tree = merged(repo, (bad, tip, before))
    assert tree == stored(repo, {"a": text(l9="good\n"), "b": OTHER, "d": b"later"})


def test_the_revert_of_a_file_that_was_moved_since_is_no_silent_success(repo: pygit2.Repository) -> None:
    bad, tip, before = stored(repo, {"a": TEXT}), stored(repo, {"b": TEXT}), stored(repo, {"x": b""})
    merge, _ = merged(repo, (bad, tip, before))
    assert [(conflict.path, conflict.kind) for conflict in merge.conflicts] == [
        ("a", "rename"),
        ("b", "rename"),
    ]


def test_submodules_are_taken_from_the_side_that_moved_them(repo: pygit2.Repository) -> None:
    batch = Batch(repo)

    def tree(pointer: bytes) -> Oid:
        return batch.put("tree", format_tree({b"sub": (SUBMODULE, pointer * 20)}))

    merge = three_way(batch, repo, tree(b"\1"), tree(b"\1"), tree(b"\2"))
    assert merge.edits == {"sub": Edit(b"\2" * 20, SUBMODULE)}
    merge = three_way(batch, repo, tree(b"\1"), tree(b"\3"), tree(b"\2"))
    assert merge.conflicts == [Conflict("sub", "type", b"\1" * 20, b"\3" * 20, b"\2" * 20)]


def test_a_merge_reads_only_what_changed(repo: pygit2.Repository) -> None:
    files = {f"d{number}/f{inner}": b"x" for number in range(40) for inner in range(5)}
    base = stored(repo, files)
    ours, theirs = stored(repo, files | {"d1/f1": b"ours"}), stored(repo, files | {"d2/f2": b"theirs"})
    reads: list[str] = []

    class Counting:
        def read(self, oid: pygit2.Oid) -> tuple[int, bytes]:
            reads.append(str(oid))
            return repo.read(oid)

    merge = three_way(Batch(Counting()), repo, base, ours, theirs)
    assert list(merge.edits) == ["d2/f2"]
    assert len(reads) <= 6


def test_without_a_common_base_equal_files_merge(repo: pygit2.Repository) -> None:
    ours, theirs = stored(repo, {"a": TEXT, "b": OTHER}), stored(repo, {"a": TEXT, "c": OTHER})
    _, tree = merged(repo, (EMPTY_TREE, ours, theirs))
    assert tree == stored(repo, {"a": TEXT, "b": OTHER, "c": OTHER})
