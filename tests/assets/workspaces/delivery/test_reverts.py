import pytest

from builderos.assets.workspaces.delivery import Overlay, is_delivery, is_exempt, reverts
from builderos.core.problems import Problem
from tests.assets.workspaces.delivery.trees import LAYOUT, Tree

PATH = ".logs/reverted_commits.yaml"


def revert(number: int) -> dict[str, object]:
    return {
        "reverted_sha": f"{number:040d}",
        "new_sha_of": f"chg_{number}",
        "paths": ["src/a.py"],
        "reason": "It broke the build",
        "by": "sandbox-golden-otter",
        "at": "2026-11-21T02:03:04Z",
    }


def test_a_revert_is_one_line_at_the_end():
    tree = Tree()
    for number in range(3):
        tree.edit(reverts.append(tree, LAYOUT, [revert(number)]))
    assert tree.yaml(PATH) == [revert(n) for n in range(3)] == list(reverts.entries(tree, LAYOUT))
    assert tree.text(PATH).count("\n") == 3


def test_the_same_revert_is_written_once():
    tree = Tree().edit(reverts.append(Tree(), LAYOUT, [revert(1)]))
    assert reverts.append(tree, LAYOUT, [revert(1)]) == {}


def test_past_two_hundred_the_log_rotates_beside_itself():
    tree = Tree().edit(reverts.append(Tree(), LAYOUT, [revert(n) for n in range(450)]))
    assert tree.list(".logs/reverted_commits") == ["000000.yaml", "000001.yaml"]
    assert list(reverts.entries(tree, LAYOUT)) == [revert(n) for n in range(450)]


def test_a_broken_log_is_set_aside_and_reported():
    tree = Tree({PATH: b"- {"})
    tree.edit(reverts.append(tree, LAYOUT, [revert(1)]))
    assert tree[".logs/reverted_commits/000000.yaml.broken"] == b"- {"
    assert list(reverts.entries(tree, LAYOUT)) == [revert(1)]
    assert [issue.path for issue in reverts.issues(tree, LAYOUT)] == [
        ".logs/reverted_commits/000000.yaml.broken"
    ]


def test_thousands_of_reverted_files_are_counted_where_they_do_not_fit():
    paths = [f"src/{n}/{'d' * 50}.py" for n in range(5000)]
    tree = Tree().edit(reverts.append(Tree(), LAYOUT, [revert(1) | {"paths": paths}]))
    (written,) = reverts.entries(tree, LAYOUT)
    assert written["paths"] == paths[: len(written["paths"])]
    assert len(written["paths"]) + written["paths_omitted"] == 5000


def test_a_sha_of_digits_alone_stays_text_when_a_person_writes_it_without_quotes():
    tree = Tree({PATH: b"- {reverted_sha: 1234567, new_sha_of: chg_1}\n"})
    (entry,) = reverts.entries(tree, LAYOUT)
    assert entry["reverted_sha"] == "1234567"


def test_an_entry_without_what_it_reverted_is_refused():
    with pytest.raises(Problem, match="reverted_sha"):
        reverts.append(Tree(), LAYOUT, [{"new_sha_of": "chg_1"}])


def test_delivery_files_and_logs_are_exempt_from_reverts_and_nothing_else_is():
    kept = [
        "project/task.yaml", "project/memory.yaml", "project/memory/a.yaml", "project/memory/0f.yaml",
        "project/changelog.yaml", "project/changelog/000001.yaml", "project/changelog/000001.yaml.broken", PATH,
        ".logs/reverted_commits/000000.yaml",
    ]  # fmt: skip
    other = [
        "project/goals.md", "project/memory/readme.md", "project/memory/xyz.yaml", "project/changelog/notes.yaml",
        "project/changelog/1/000001.yaml", "src/project/task.yaml", "builderos.yaml", "project/memory/a/b.yaml",
    ]  # fmt: skip
    assert all(is_delivery(path, LAYOUT) and is_exempt(path, LAYOUT) for path in kept)
    assert not any(is_delivery(path, LAYOUT) or is_exempt(path, LAYOUT) for path in other)
    assert is_exempt(".logs/other.txt", LAYOUT)
    assert not is_delivery(".logs/other.txt", LAYOUT)


def test_an_overlay_shows_a_tree_as_it_will_be():
    tree = Tree({"a/1": b"1", "a/2": b"2", "a/b/3": b"3"})
    over = Overlay(tree, {"a/2": None, "a/4": b"4", "a/c/5": b"5", "a/1": b"one", "ab/6": b"6"})
    assert sorted(over.list("a")) == ["1", "4", "b", "c"]
    assert (over.read("a/1"), over.read("a/2"), over.read("a/b/3"), over.read("no")) == (
        b"one",
        None,
        b"3",
        None,
    )
