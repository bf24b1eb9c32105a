import statistics
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builderos.assets.workspaces.delivery import lines, memory
from builderos.assets.workspaces.delivery.memory import hashed
from builderos.core.problems import Problem
from tests.assets.workspaces.delivery.trees import LAYOUT, Tree, any_text, counted, memory_item

HEAD, FOLDER = "project/memory.yaml", "project/memory"


def grown(count: int) -> Tree:
    return Tree().edit(memory.upsert(Tree(), LAYOUT, [memory_item(f"src/a{n}.py") for n in range(count)]))


def shards(tree: Tree) -> dict[str, int]:
    return {name: len(tree.yaml(f"{FOLDER}/{name}")["files"]) for name in tree.list(FOLDER)}


def test_an_entry_is_one_line_under_files():
    tree = grown(1)
    assert tree.text(HEAD).startswith('version: 1\nfiles:\n  - {"path": "src/a0.py", "description"')
    assert tree.yaml(HEAD) == {"version": 1, "files": [memory_item("src/a0.py")]}


def test_a_second_upsert_of_a_path_replaces_its_line_and_no_other():
    tree = grown(3)
    before = tree.text(HEAD).split("\n")
    tree.edit(memory.upsert(tree, LAYOUT, [{"path": "src/a1.py", "sha": "new"}]))
    after = tree.text(HEAD).split("\n")
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, True, True, False, True, True]
    assert memory.get(tree, LAYOUT, "src/a1.py") == memory_item("src/a1.py", sha="new")


def test_fields_that_are_not_given_stay_among_them_those_a_person_has_added():
    mine = b"version: 1\nfiles:\n  - path: src/a.py\n    description: Mine\n    notes: keep\n"
    tree = Tree({HEAD: mine})
    tree.edit(memory.upsert(tree, LAYOUT, [{"path": "src/a.py", "sha": "123"}]))
    assert memory.get(tree, LAYOUT, "src/a.py") == {
        "path": "src/a.py", "description": "Mine", "notes": "keep", "sha": "123",
    }  # fmt: skip


def test_an_upsert_that_changes_nothing_is_no_edit():
    tree = grown(3)
    assert memory.upsert(tree, LAYOUT, [memory_item("src/a1.py")]) == {}
    assert memory.remove(tree, LAYOUT, ["src/none.py"]) == {}
    assert memory.remove(Tree(), LAYOUT, ["src/none.py"]) == {}


def test_the_two_hundred_and_first_entry_moves_all_into_shards_by_hash():
    tree = grown(201)
    assert tree.text(HEAD) == "version: 1\nfiles: []\n"
    assert set(shards(tree)) == {f"{digit:x}.yaml" for digit in range(16)}
    assert sum(shards(tree).values()) == 201
    for name in tree.list(FOLDER):
        assert all(hashed(item["path"])[0] == name[0] for item in tree.yaml(f"{FOLDER}/{name}")["files"])
    assert memory.every(tree, LAYOUT) == {f"src/a{n}.py": memory_item(f"src/a{n}.py") for n in range(201)}


def test_a_shard_past_two_hundred_splits_into_longer_prefixes_and_the_short_one_goes():
    paths = [p for n in range(4000) if hashed(p := f"f{n}")[0] == "7"][:201]
    tree = Tree().edit(memory.upsert(Tree(), LAYOUT, [memory_item(f"x{n}") for n in range(201)]))
    for path in paths:
        tree.edit(memory.upsert(tree, LAYOUT, [memory_item(path)]))
    assert "7.yaml" not in tree.list(FOLDER)
    assert {name for name in tree.list(FOLDER) if name[0] == "7"} == {f"7{d:x}.yaml" for d in range(16)}
    assert max(shards(tree).values()) <= 200
    assert len(memory.every(tree, LAYOUT)) == 402
    assert all(memory.get(tree, LAYOUT, path) == memory_item(path) for path in paths)


def test_ten_thousand_entries_are_found_and_every_file_stays_small():
    tree = grown(10_000)
    assert len(memory.every(tree, LAYOUT)) == 10_000
    assert max(shards(tree).values()) <= 200
    tree.edit(memory.remove(tree, LAYOUT, [f"src/a{n}.py" for n in range(0, 10_000, 2)]))
    assert len(memory.every(tree, LAYOUT)) == 5000


def test_an_upsert_reads_the_head_and_one_shard_however_many_entries_there_are(
    monkeypatch: pytest.MonkeyPatch,
):
    for count in (300, 3000, 10_000):
        tree = grown(count)
        tree.edit(memory.upsert(tree, LAYOUT, [memory_item("src/a7.py", sha="0")]))
        studies = counted(monkeypatch, lines, "_study", lines._study)
        tree.reads = 0
        edits = memory.upsert(tree, LAYOUT, [memory_item("src/a7.py", sha="1")])
        assert tree.reads == 2
        assert len(edits) == 1
        assert studies == []


def test_the_time_of_an_upsert_does_not_grow_with_the_number_of_entries():
    def cost(count: int) -> float:
        tree = grown(count)
        times: list[float] = []
        for turn in range(60):
            start = time.thread_time()
            edits = memory.upsert(tree, LAYOUT, [memory_item(f"src/a{turn}.py", sha=str(turn))])
            times.append(time.thread_time() - start)
            tree.edit(edits)
        return statistics.median(times)

    assert cost(10_000) < 6 * cost(
        200
    )  # fifty times the entries; parsing them all would be forty times the time


def test_all_entries_gone_leaves_no_shard_behind():
    tree = grown(300)
    tree.edit(memory.remove(tree, LAYOUT, [f"src/a{n}.py" for n in range(300)]))
    assert set(tree) == {HEAD}
    tree.edit(memory.upsert(tree, LAYOUT, [memory_item("src/b.py")]))
    assert list(memory.every(tree, LAYOUT)) == ["src/b.py"]


def test_an_entry_added_by_hand_to_the_empty_head_wins_and_moves_into_its_shard_with_the_next_write():
    tree = grown(300)
    tree[HEAD] = b"# ours\nversion: 1\nfiles:\n  - path: src/a7.py\n    description: By hand\n"
    assert memory.get(tree, LAYOUT, "src/a7.py") == {"path": "src/a7.py", "description": "By hand"}
    assert memory.every(tree, LAYOUT)["src/a7.py"]["description"] == "By hand"
    tree.edit(memory.upsert(tree, LAYOUT, [memory_item("src/other.py")]))
    assert tree.text(HEAD) == "# ours\nversion: 1\nfiles: []\n"
    assert memory.get(tree, LAYOUT, "src/a7.py") == {"path": "src/a7.py", "description": "By hand"}
    assert len(memory.every(tree, LAYOUT)) == 301


def test_an_entry_by_hand_that_is_stamped_earlier_than_the_shards_does_not_count():
    tree = grown(300)
    tree[HEAD] = b"version: 1\nfiles:\n  - {path: src/a7.py, description: Old, last_updated: 2020-01-01}\n"
    assert memory.get(tree, LAYOUT, "src/a7.py") == memory_item("src/a7.py")


def test_comments_and_block_style_of_a_person_stay_when_another_entry_changes():
    mine = (
        "# map\nversion: 1\nfiles:\n  # first\n  - path: src/a.py\n    tags:\n      - x\n\n"
        "  - {path: src/b.py}  # b\n"
    )
    tree = Tree({HEAD: mine.encode()})
    tree.edit(memory.upsert(tree, LAYOUT, [memory_item("src/c.py")]))
    assert tree.text(HEAD).startswith(mine)
    tree.edit(memory.upsert(tree, LAYOUT, [{"path": "src/b.py", "sha": "1"}]))
    assert "  # first\n  - path: src/a.py\n    tags:\n      - x\n\n" in tree.text(HEAD)
    assert '  - {"path": "src/b.py", "sha": "1"}  # b\n' in tree.text(HEAD)
    tree.edit(memory.remove(tree, LAYOUT, ["src/a.py"]))
    assert tree.text(HEAD).startswith("# map\nversion: 1\nfiles:\n  # first\n\n  - {")
    assert set(memory.every(tree, LAYOUT)) == {"src/b.py", "src/c.py"}


def test_a_literal_text_that_looks_like_an_entry_is_not_taken_for_it():
    note = 'version: 1\nnote: |\n  - {"path": "src/a.py", "sha": "trap"}\n'
    trap = note + 'files:\n  - {"path": "src/a.py", "sha": "1"}\n'
    tree = Tree({HEAD: trap.encode()})
    tree.edit(memory.upsert(tree, LAYOUT, [{"path": "src/a.py", "sha": "2"}]))
    assert tree.yaml(HEAD)["note"] == '- {"path": "src/a.py", "sha": "trap"}\n'
    assert tree.yaml(HEAD)["files"] == [{"path": "src/a.py", "sha": "2"}]


def test_a_path_given_twice_by_hand_counts_once_and_is_written_once():
    tree = Tree({HEAD: b"version: 1\nfiles:\n  - {path: a, sha: x}\n  - {path: a, sha: y}\n"})
    assert memory.get(tree, LAYOUT, "a") == {"path": "a", "sha": "y"}
    tree.edit(memory.upsert(tree, LAYOUT, [{"path": "a", "owner": "me"}]))
    assert tree.yaml(HEAD)["files"] == [{"path": "a", "sha": "y", "owner": "me"}]


@pytest.mark.parametrize(
    "broken", [b"version: 1\nfiles: {\n", b"version: 2\nfiles: []\n", b"- a\n", b"\xff", b"files: 7\n"]
)
def test_a_broken_head_stays_untouched_and_writes_go_around_it(broken: bytes):
    tree = Tree({HEAD: broken})
    for number in range(30):
        tree.edit(memory.upsert(tree, LAYOUT, [memory_item(f"src/a{number}.py")]))
    assert tree[HEAD] == broken
    assert len(memory.every(tree, LAYOUT)) == 30
    assert [issue.path for issue in memory.issues(tree, LAYOUT)] == [HEAD]


def test_a_broken_shard_stays_untouched_and_meets_the_new_entries_when_it_is_mended():
    tree = grown(300)
    digit = hashed("src/a7.py")[0]
    path = f"{FOLDER}/{digit}.yaml"
    whole = tree[path]
    tree[path] = whole + b"<<<<<<< ours\n"
    for number in range(300):
        tree.edit(
            memory.upsert(
                tree, LAYOUT, [memory_item(f"src/a{number}.py", last_updated="2026-11-22T00:00:00Z")]
            )
        )
    assert tree[path] == whole + b"<<<<<<< ours\n"
    assert len(memory.every(tree, LAYOUT)) == 300
    assert [(issue.path, issue.line) for issue in memory.issues(tree, LAYOUT)] == [
        (path, whole.count(b"\n") + 2)
    ]
    tree[path] = whole
    assert {item["last_updated"] for item in memory.every(tree, LAYOUT).values()} == {"2026-11-22T00:00:00Z"}
    tree.edit(memory.remove(tree, LAYOUT, ["src/a7.py"]))
    assert memory.get(tree, LAYOUT, "src/a7.py") is None
    assert len(memory.every(tree, LAYOUT)) == 299


@pytest.mark.parametrize(
    "bad", [{"path": ""}, {"tags": "code"}, {"source": "elsewhere"}, {"last_updated": "now"}]
)
def test_a_field_that_breaks_the_schema_is_refused_and_nothing_is_written(bad: dict[str, object]):
    with pytest.raises(Problem) as refused:
        memory.upsert(Tree(), LAYOUT, [memory_item("a"), memory_item("b") | bad])
    assert refused.value.code == "validation_failed"


names = st.sampled_from([f"p{n}" for n in range(12)]) | any_text.filter(bool)
steps = st.lists(st.tuples(st.sampled_from("uuurfb"), names, any_text), max_size=40)


@settings(max_examples=150, deadline=None)
@given(steps, st.integers(1, 6))
def test_any_sequence_of_writes_equals_a_dictionary(rows: list[tuple[str, str, str]], limit: int):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BLOCK_ITEMS", limit)  # so that few entries split often
        tree, model = Tree(), dict[str, dict[str, object]]()
        for action, path, words in rows:
            if action == "r":
                tree.edit(memory.remove(tree, LAYOUT, [path]))
                model.pop(path, None)
            elif action == "f":
                lines.KNOWN.clear()
            elif action == "b":
                tree.edit(
                    memory.upsert(tree, LAYOUT, [{"path": p, "owner": "x"} for p in ("p1", "p2", path)])
                )
                for p in ("p1", "p2", path):
                    model[p] = model.get(p, {}) | {"path": p, "owner": "x"}
            else:
                tree.edit(memory.upsert(tree, LAYOUT, [{"path": path, "description": words}]))
                model[path] = model.get(path, {}) | {"path": path, "description": words}
            assert memory.every(tree, LAYOUT) == model
        foreign = [item for name in tree for item in tree.yaml(name)["files"] or []]
        assert {item["path"]: item for item in foreign} == model
        assert len(foreign) == len(model)
