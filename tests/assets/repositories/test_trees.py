import unicodedata
from collections.abc import Mapping
from pathlib import Path

import pygit2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builderos.assets.repositories.objects import EMPTY_TREE, Batch, Oid
from builderos.assets.repositories.paths import MAX_DEPTH
from builderos.assets.repositories.trees import (
    BLOB,
    EXECUTABLE,
    LINK,
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
)
from builderos.core.problems import Problem

from .oracle import Files, flush, folders, fsck, git, git_tree, libgit2_tree, new_repo, plain, tree_of

# Names whose order differs between bytes, folders and files, or whose spelling invites a wrong split.
NAMES = ["a", "a.b", "a-b", "a0", "ab", "A", "b", "é", "100644 a", "40000 b", " ", "z\n"]
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
LEAVES = st.tuples(st.sampled_from([BLOB, EXECUTABLE, LINK]), st.sampled_from([b"", b"one\n", b"two\n"]))
FAST = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def without_clashes(files: Mapping[str, tuple[int, bytes]]) -> dict[str, tuple[int, bytes]]:
    above = folders(files)
    return {path: leaf for path, leaf in files.items() if path not in above}


TREES = st.dictionaries(PATHS, LEAVES, max_size=14).map(without_clashes)
WRITES = st.tuples(st.sampled_from([None, BLOB, EXECUTABLE, LINK]), st.binary(max_size=2))
EDITS = st.dictionaries(PATHS, st.none() | WRITES, max_size=8)


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> pygit2.Repository:
    return new_repo(tmp_path_factory.mktemp("trees") / "r.git")


def contents(batch: Batch, tree: Oid) -> dict[str, tuple[int, bytes]]:
    return {path: (mode, batch.read(oid)[1]) for path, mode, oid in walk(batch, tree)}


def shape(**files: str) -> Files:
    return {path.replace("__", "/"): (BLOB, text.encode()) for path, text in files.items()}


# ------------------------------------------------------------------------------------------------ reading


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


# ------------------------------------------------------------------------------------------------ editing


class Refused(Exception):
    pass


def expected(
    files: Files, edits: Mapping[str, tuple[int | None, bytes] | None]
) -> dict[str, tuple[int, bytes]]:
    """The plain model: deletions first, then additions; Refused where names would clash."""
    was_folder, result = folders(files), dict(files)
    for path, edit in edits.items():
        if edit is None and path in was_folder:
            raise Refused
        if any(above in files and above not in edits for above in folders([path])):
            raise Refused
        result.pop(path, None)
    for path, edit in edits.items():
        if edit is None:
            continue
        mode, data = edit
        executable = path in files and files[path][0] == EXECUTABLE
        result[path] = (mode or (EXECUTABLE if executable else BLOB), data)
    if folders(result) & result.keys():
        raise Refused
    return result


@settings(FAST, max_examples=600)
@given(TREES, EDITS)
def test_any_edits_of_any_tree_give_what_a_plain_dictionary_gives(
    repo: pygit2.Repository, files: Files, edits: dict[str, tuple[int | None, bytes] | None]
) -> None:
    batch = Batch(repo)
    tree = tree_of(batch, files)
    given_edits = {
        path: None if it is None else Edit(batch.put("blob", it[1]), it[0]) for path, it in edits.items()
    }
    try:
        wanted = expected(files, edits)
    except Refused:
        with pytest.raises(Problem) as caught:
            edit_tree(batch, tree, given_edits)
        assert caught.value.code == "invalid_path"
        return
    result = edit_tree(batch, tree, given_edits)
    assert contents(batch, result) == wanted
    assert result == libgit2_tree(repo, wanted)
    flush(repo, batch)
    assert contents(Batch(repo), result) == wanted


def test_what_was_built_and_written_passes_gits_strictest_check(tmp_path: Path) -> None:
    repo = new_repo(tmp_path / "r.git")
    batch = Batch(repo)
    files = {
        f"d{n % 7}/e{n % 5}/file {n}.txt": (EXECUTABLE if n % 3 else BLOB, b"%d" % n) for n in range(200)
    }
    tree = tree_of(batch, files)
    for number in range(0, 200, 9):
        blob = Edit(batch.put("blob", b"new %d" % number))
        tree = edit_tree(
            batch, tree, {f"d{number % 7}/e{number % 5}/file {number}.txt": None, f"new/{number}": blob}
        )
    flush(repo, batch)
    fsck(repo, tree)


def test_each_folder_is_written_once_however_many_files_change_in_it(repo: pygit2.Repository) -> None:
    batch = Batch(repo)
    tree = tree_of(batch, {f"a/b/{number}": (BLOB, b"x") for number in range(100)})
    flush(repo, batch)
    batch = Batch(repo)
    blob = batch.put("blob", b"y")
    edit_tree(batch, tree, {f"a/b/{number}": Edit(blob) for number in range(100)})
    assert len(batch) == 1 + 3


@pytest.mark.parametrize(
    "edits", [{}, {"missing": None}, {"a/missing": None}, {"x/y/z": None}, {"a/b": "same"}]
)
def test_edits_that_change_nothing_return_the_same_tree_and_write_nothing(
    repo: pygit2.Repository, edits: dict[str, str | None]
) -> None:
    batch = Batch(repo)
    tree = tree_of(batch, {"a/b": (EXECUTABLE, b"same"), "c": (BLOB, b"")})
    before = len(batch)
    given_edits = {
        path: None if it is None else Edit(batch.put("blob", it.encode())) for path, it in edits.items()
    }
    assert edit_tree(batch, tree, given_edits) == tree
    assert len(batch) == before


def test_the_executable_bit_stays_and_a_link_becomes_a_plain_file(repo: pygit2.Repository) -> None:
    batch = Batch(repo)
    tree = tree_of(batch, {"run": (EXECUTABLE, b"1"), "link": (LINK, b"/etc/passwd"), "plain": (BLOB, b"1")})
    blob = batch.put("blob", b"2")
    after = edit_tree(batch, tree, {"run": Edit(blob), "link": Edit(blob), "plain": Edit(blob, EXECUTABLE)})
    assert {path: mode for path, mode, _ in walk(batch, after)} == {
        "run": EXECUTABLE,
        "link": BLOB,
        "plain": EXECUTABLE,
    }


def test_a_tree_emptied_of_all_files_is_the_empty_tree(repo: pygit2.Repository) -> None:
    batch = Batch(repo)
    tree = tree_of(batch, shape(a__b__c="x"))
    assert edit_tree(batch, tree, {"a/b/c": None}) == EMPTY_TREE
    assert edit_tree(batch, None, {}) == EMPTY_TREE
    assert EMPTY_TREE in batch


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("file/x", "is a file, link or submodule"),
        ("link/x", "is a file, link or submodule"),
        ("sub/x", "is a file, link or submodule"),
        ("sub", "submodule of this name"),
        ("dir", "folder of this name"),
        ("", "component"),
        ("a//b", "component"),
        ("/a", "component"),
        ("a/", "component"),
        ("a/../b", "component"),
        ("./a", "component"),
        (".git/config", "component"),
        ("a/.GIT", "component"),
        ("a\0b", "component"),
        ("a/" * MAX_DEPTH + "b", "deep"),
    ],
)
def test_a_file_cannot_be_written_where_it_has_no_place(repo: pygit2.Repository, path: str, why: str) -> None:
    batch = Batch(repo)
    blob = batch.put("blob", b"x")
    entries = {b"file": (BLOB, blob), b"link": (LINK, blob), b"sub": (SUBMODULE, b"\x07" * 20)}
    entries[b"dir"] = (TREE, batch.put("tree", format_tree({b"x": (BLOB, blob)})))
    tree = batch.put("tree", format_tree(entries))
    before = len(batch)
    with pytest.raises(Problem, match=why) as caught:
        edit_tree(batch, tree, {path: Edit(blob), "other": Edit(blob)})
    assert caught.value.code == "invalid_path"
    assert caught.value.hint
    assert len(batch) == before


def test_one_set_of_edits_cannot_make_a_name_both_file_and_folder(repo: pygit2.Repository) -> None:
    batch = Batch(repo)
    blob = Edit(batch.put("blob", b"x"))
    for edits in ({"a": blob, "a/b": blob}, {"a/b": blob, "a": blob}):
        with pytest.raises(Problem, match="file and a folder at once"):
            edit_tree(batch, None, edits)


def test_one_set_of_edits_may_turn_a_file_into_a_folder_and_back(repo: pygit2.Repository) -> None:
    batch = Batch(repo)
    blob = Edit(batch.put("blob", b"x"))
    file_tree, folder_tree = edit_tree(batch, None, {"a": blob}), edit_tree(batch, None, {"a/b": blob})
    assert edit_tree(batch, file_tree, {"a": None, "a/b": blob}) == folder_tree
    assert edit_tree(batch, folder_tree, {"a": blob, "a/b": None}) == file_tree


def test_a_folder_is_not_deleted_by_its_own_name(repo: pygit2.Repository) -> None:
    batch = Batch(repo)
    tree = tree_of(batch, shape(a__b="x", a__c="y"))
    with pytest.raises(Problem, match="folder cannot be deleted"):
        edit_tree(batch, tree, {"a": None})


def test_a_submodule_can_be_deleted_and_put(repo: pygit2.Repository) -> None:
    batch = Batch(repo)
    tree = edit_tree(batch, None, {"sub": Edit(b"\x07" * 20, SUBMODULE), "a": Edit(batch.put("blob", b""))})
    assert lookup(batch, tree, "sub") == Entry(SUBMODULE, b"\x07" * 20)
    assert [path for path, _, _ in walk(batch, edit_tree(batch, tree, {"sub": None}))] == ["a"]


def test_an_edit_of_an_impossible_mode_is_a_value_error(repo: pygit2.Repository) -> None:
    with pytest.raises(ValueError, match="not an edit"):
        edit_tree(Batch(repo), None, {"a": Edit(b"\x01" * 20, 0o040000)})


def test_trees_that_old_tools_wrote_in_another_form_are_edited_without_loss(repo: pygit2.Repository) -> None:
    batch = Batch(repo)
    blob, new = batch.put("blob", b"x"), Edit(batch.put("blob", b"new"))
    inner = batch.put("tree", b"100664 f\0" + blob)
    unsorted = b"100644 z\0" + blob + b"040000 dir\0" + inner + b"100644 b\0" + blob + b"100644 a\0" + blob
    tree = batch.put("tree", unsorted)
    for name in ("z", "b", "a", "dir", "dir/f"):
        assert lookup(batch, tree, name) is not None, name
    for name in ("z", "b", "a"):
        after = edit_tree(batch, tree, {name: new})
        assert sorted(path for path, _, _ in walk(batch, after)) == ["a", "b", "dir/f", "z"]
        assert lookup(batch, after, name) == Entry(BLOB, new.oid)
    after = edit_tree(batch, tree, {"dir/f": new})
    assert lookup(batch, after, "dir/f") == Entry(BLOB, new.oid)
    assert edit_tree(batch, tree, {"dir/f": Edit(blob), "none": None}) != tree  # 100664 becomes 100644
    assert (
        list(
            diff_trees(
                batch, batch.put("tree", b"040000 d\0" + inner), batch.put("tree", b"40000 d\0" + inner)
            )
        )
        == []
    )


# ------------------------------------------------------------------------------------------------ collisions


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


def test_an_edit_stays_cheap_in_a_large_folder(repo: pygit2.Repository, tmp_path: Path) -> None:
    batch = Batch(repo)
    files = {f"src/file_{number:04}.py": (BLOB, b"") for number in range(2000)}
    tree = tree_of(batch, files)
    flush(repo, batch)
    assert git(repo, "ls-tree", "-r", "--name-only", tree.hex()).decode().splitlines() == sorted(files)
    batch = Batch(repo)
    after = edit_tree(batch, tree, {"src/file_1000.py": None, "src/new.py": Edit(batch.put("blob", b"n"))})
    assert len(batch) == 3
    flush(repo, batch)
    assert len(git(repo, "ls-tree", "-r", after.hex()).splitlines()) == 2000
