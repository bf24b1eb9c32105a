from collections.abc import Mapping
from pathlib import Path

import pygit2
import pytest
from hypothesis import given, settings

from builderos.assets.repositories.objects import EMPTY_TREE, Batch
from builderos.assets.repositories.trees import (
    BLOB,
    EXECUTABLE,
    LINK,
    SUBMODULE,
    TREE,
    Edit,
    Entry,
    diff_trees,
    edit_tree,
    format_tree,
    lookup,
    walk,
)  # fmt: skip
from builderos.core.paths import MAX_DEPTH
from builderos.core.problems import Problem

from .oracle import Files, flush, folders, fsck, git, libgit2_tree, new_repo, tree_of
from .random_trees import EDITS, FAST, TREES, contents, shape


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> pygit2.Repository:
    return new_repo(tmp_path_factory.mktemp("trees") / "r.git")


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
