import unicodedata
from pathlib import Path

import pygit2
import pytest
from hypothesis import given, settings

from builderos.assets.repositories.objects import EMPTY_TREE, Batch, Oid
from builderos.assets.repositories.trees import (
    BLOB,
    EXECUTABLE,
    SUBMODULE,
    TREE,
    Edit,
    Entry,
    colliding,
    diff_trees,
    edit_tree,
    format_tree,
    fresh_objects,
    lookup,
    parse_tree,
    walk,
)  # fmt: skip

from .oracle import Files, flush, folders, git_tree, libgit2_tree, new_repo, plain, tree_of
from .random_trees import FAST, PATHS, TREES, contents, shape


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> pygit2.Repository:
    return new_repo(tmp_path_factory.mktemp("trees") / "r.git")


@FAST
@given(TREES)
def test_a_tree_has_the_id_that_libgit2_gives_it_and_is_read_back(
    repo: pygit2.Repository, files: Files
) -> None:
    batch = Batch(repo)
    tree = tree_of(batch, files)
    assert tree == libgit2_tree(repo, files)
    assert contents(Batch(repo), tree) == files
    for path, (mode, data) in files.items():
        entry = lookup(batch, tree, path)
        assert entry is not None
        assert (entry.mode, batch.read(entry.oid)) == (mode, ("blob", data))
    for folder in folders(files):
        entry = lookup(batch, tree, folder)
        assert entry is not None
        assert entry.is_tree
    data = batch.read(tree)[1]
    assert format_tree(parse_tree(data)) == data


@settings(FAST, max_examples=15)
@given(TREES)
def test_a_tree_has_the_id_that_the_git_program_gives_it(
    repo: pygit2.Repository, tmp_path: Path, files: Files
) -> None:
    assert tree_of(Batch(repo), files) == git_tree(repo, files, tmp_path / "index")


def test_a_folder_of_two_thousand_entries_with_every_byte_in_its_ids_is_cut_right(
    repo: pygit2.Repository,
) -> None:
    entries = {
        b"file %04d" % number: (BLOB, bytes(range(number % 237, number % 237 + 20))) for number in range(2000)
    }
    entries[b"sub"] = (TREE, b"\0" * 20)
    entries[b"sub.txt"] = (EXECUTABLE, b" a\0" * 6 + b"\0\0")
    data = format_tree(entries)
    assert list(data[data.index(b"sub") :].split(b"\0")[0:1]) == [b"sub.txt"]  # "sub." sorts before "sub/"
    assert parse_tree(data) == entries
    batch = Batch(repo)
    tree = batch.put("tree", data)
    assert lookup(batch, tree, "file 1234") == Entry(*entries[b"file 1234"])
    assert lookup(batch, tree, "sub") == Entry(TREE, b"\0" * 20)
    assert lookup(batch, tree, "a") is None


@pytest.mark.parametrize(
    "data", [b"x", b"100644 a\0short", b"100644 a\0" + b"x" * 21, b"\0" * 30, b"100644 \0" + b"x" * 20]
)
def test_a_malformed_tree_is_refused_not_guessed(repo: pygit2.Repository, data: bytes) -> None:
    with pytest.raises(ValueError, match="malformed"):
        parse_tree(data)


def test_a_malformed_tree_in_the_store_is_refused(repo: pygit2.Repository) -> None:
    batch = Batch(repo)
    tree = batch.put("tree", b"100644 a\0short")
    with pytest.raises(ValueError, match="malformed"):
        lookup(batch, tree, "a")
    with pytest.raises(ValueError, match="not a tree"):
        lookup(batch, batch.put("blob", b"x"), "a")


def test_lookup_does_not_look_into_files(repo: pygit2.Repository) -> None:
    batch = Batch(repo)
    tree = tree_of(batch, shape(a__b="x"))
    assert lookup(batch, tree, "a/b/c") is None
    assert lookup(batch, tree, "a/c") is None
    assert lookup(batch, tree, "") == Entry(TREE, tree)
    assert lookup(batch, EMPTY_TREE, "a") is None


def test_walk_starts_at_a_prefix(repo: pygit2.Repository) -> None:
    batch = Batch(repo)
    tree = tree_of(batch, shape(a__b="1", a__c__d="2", ab="3"))
    assert [path for path, _, _ in walk(batch, tree, "a")] == ["a/b", "a/c/d"]
    assert [path for path, _, _ in walk(batch, tree, "a/b")] == ["a/b"]
    assert list(walk(batch, tree, "b")) == []


def test_names_that_are_no_utf8_survive_a_round_trip(repo: pygit2.Repository) -> None:
    batch = Batch(repo)
    blob = batch.put("blob", b"x")
    tree = batch.put("tree", format_tree({b"caf\xe9": (BLOB, blob), b"ok": (BLOB, blob)}))
    (odd, _, _), _ = walk(batch, tree)
    assert lookup(batch, tree, odd) == Entry(BLOB, blob)
    assert edit_tree(batch, tree, {"ok": None}) == batch.put("tree", format_tree({b"caf\xe9": (BLOB, blob)}))
    assert edit_tree(batch, tree, {odd: None}) == batch.put("tree", format_tree({b"ok": (BLOB, blob)}))


@FAST
@given(TREES, TREES)
def test_a_difference_is_exactly_what_changed(repo: pygit2.Repository, old: Files, new: Files) -> None:
    batch = Batch(repo)
    a, b = tree_of(batch, old), tree_of(batch, new)
    found = {
        path: tuple(None if entry is None else (entry.mode, batch.read(entry.oid)[1]) for entry in pair)
        for path, *pair in diff_trees(batch, a, b)
    }
    assert found == {
        path: (old.get(path), new.get(path))
        for path in old.keys() | new.keys()
        if old.get(path) != new.get(path)
    }
    assert {path for path, _, _ in diff_trees(batch, None, b)} == set(new)
    assert list(diff_trees(batch, b, b)) == []


def test_equal_folders_are_not_even_opened(repo: pygit2.Repository) -> None:
    class Counting:
        def __init__(self) -> None:
            self.reads = 0

        def read(self, oid: pygit2.Oid) -> tuple[int, bytes]:
            self.reads += 1
            return repo.read(oid)

    batch = Batch(repo)
    files = {f"d{number}/f": (BLOB, b"x") for number in range(50)}
    a = tree_of(batch, files)
    b = edit_tree(batch, a, {"d7/f": Edit(batch.put("blob", b"y"))})
    flush(repo, batch)
    reader = Counting()
    assert [path for path, _, _ in diff_trees(Batch(reader), a, b)] == ["d7/f"]
    assert reader.reads == 4


@FAST
@given(TREES, TREES)
def test_fresh_objects_are_enough_to_complete_a_store_that_has_the_old_tree(
    repo: pygit2.Repository, old: Files, new: Files
) -> None:
    batch = Batch(repo)
    a, b = tree_of(batch, old), tree_of(batch, new)
    fresh = list(fresh_objects(batch, b, a))
    assert len(fresh) == len(set(fresh))
    held = {oid for tree in (a,) for oid in reachable(batch, tree)} | set(fresh)
    assert reachable(batch, b) <= held
    assert set(fresh) <= reachable(batch, b)
    assert set(fresh_objects(batch, b, None)) == reachable(batch, b)
    assert list(fresh_objects(batch, b, b)) == []


def reachable(batch: Batch, tree: Oid) -> set[Oid]:
    entries = [Entry(*pair) for pair in parse_tree(batch.read(tree)[1]).values()]
    return {tree}.union(*({e.oid} if not e.is_tree else reachable(batch, e.oid) for e in entries))


def test_a_submodules_commit_is_no_object_of_ours(repo: pygit2.Repository) -> None:
    batch = Batch(repo)
    tree = batch.put("tree", format_tree({b"sub": (SUBMODULE, b"\x07" * 20)}))
    assert list(fresh_objects(batch, tree, None)) == [tree]
    assert list(walk(batch, tree)) == [("sub", SUBMODULE, b"\x07" * 20)]


@pytest.mark.parametrize(
    ("there", "new", "found"),
    [
        ("src/Main.py", "src/main.py", "src/Main.py"),
        ("src/main.py", "SRC/other.py", "src"),
        ("Straße/a", "STRASSE/b", "Straße"),
        ("caf\u00e9.txt", unicodedata.normalize("NFD", "caf\u00e9.txt"), "caf\u00e9.txt"),
        ("\u212a.txt", "k.txt", "\u212a.txt"),
        ("k.txt", "\u212a.txt", "k.txt"),
        ("\uff41.txt", "a.txt", "\uff41.txt"),
        ("\ufb01le", "FILE", "\ufb01le"),
        ("a/b/C/d", "a/b/c", "a/b/C"),
        ("a/B", "a/b/c", "a/B"),
        ("src/main.py", "src/main.py", None),
        ("src/main.py", "src/main.pyc", None),
        ("src/Main.py", "lib/main.py", None),
        ("100644 a", "a", None),
        ("file", "file/x", None),
        ("é", "e", None),
    ],
)
def test_a_new_path_that_another_system_takes_for_an_existing_one_is_found(
    repo: pygit2.Repository, there: str, new: str, found: str | None
) -> None:
    batch = Batch(repo)
    tree = tree_of(batch, plain({there: b"x", "zz/other": b"x", "Z.md": b""}))
    assert colliding(batch, tree, new) == found


def test_an_existing_path_is_no_collision_even_beside_its_twin(repo: pygit2.Repository) -> None:
    batch = Batch(repo)
    tree = tree_of(batch, plain({"Makefile": b"", "makefile": b"", "SRC/a": b"", "src/b": b""}))
    for path in ("Makefile", "makefile", "SRC/a", "src/b", "src/new"):
        assert colliding(batch, tree, path) is None
    assert colliding(batch, tree, "MAKEFILE") == "Makefile"


@FAST
@given(TREES, PATHS)
def test_a_collision_is_found_exactly_when_folding_every_name_finds_one(
    repo: pygit2.Repository, files: Files, path: str
) -> None:
    batch = Batch(repo)
    tree = tree_of(batch, files)
    names = set(files) | folders(files)
    twin = None
    for part in [*sorted(folders([path]), key=len), path]:
        if part not in names:
            head, _, last = part.rpartition("/")
            siblings = {name for name in names if name.rpartition("/")[0] == head}
            twin = {name for name in siblings if name.rpartition("/")[2].casefold() == last.casefold()}
            break
        if part in files:
            break
    found = colliding(batch, tree, path)
    assert (found in twin) if twin else (found is None)
