import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builderos.assets.workspaces.delivery import changelog, lines
from builderos.core.problems import Problem
from tests.assets.workspaces.delivery.trees import LAYOUT, Tree, any_text, copy, counted, entry, ids, values

HEAD, FOLDER = "project/changelog.yaml", "project/changelog"


def grown(count: int, start: int = 0) -> Tree:
    return Tree().edit(changelog.append(Tree(), LAYOUT, [entry(n) for n in range(start, start + count)]))


def test_an_entry_is_one_line_that_any_yaml_reader_reads():
    tree = grown(1)
    assert tree.text(HEAD).startswith('- {"id": "chg_00000000000000000000000000", "timestamp": "2026')
    assert tree.text(HEAD).count("\n") == 1
    assert tree.yaml(HEAD) == [entry(0)]


def test_entries_come_newest_last():
    tree = grown(2)
    tree.edit(changelog.append(tree, LAYOUT, [entry(2)]))
    assert ids(changelog.entries(tree, LAYOUT)) == ids(map(entry, range(3)))


def test_a_second_append_of_the_same_entry_changes_nothing():
    tree = grown(3)
    assert changelog.append(tree, LAYOUT, [entry(1)]) == {}


def test_the_two_hundred_and_first_entry_begins_a_new_head_and_the_full_one_moves_as_it_is():
    tree = grown(200)
    full = tree[HEAD]
    edits = changelog.append(tree, LAYOUT, [entry(200)])
    assert set(edits) == {HEAD, f"{FOLDER}/000000.yaml"}
    assert edits[f"{FOLDER}/000000.yaml"] == full
    tree.edit(edits)
    assert len(tree.yaml(HEAD)) == 1
    assert list(changelog.entries(tree, LAYOUT)) == [entry(n) for n in range(201)]


def test_a_rotated_block_never_changes_while_a_thousand_entries_come():
    tree = grown(0)
    seen: dict[str, bytes] = {}
    for number in range(1000):
        tree.edit(changelog.append(tree, LAYOUT, [entry(number)]))
        for name in tree.list(FOLDER):
            path = f"{FOLDER}/{name}"
            assert seen.setdefault(path, tree[path]) == tree[path]
    assert tree.list(FOLDER) == [f"{n:06d}.yaml" for n in range(4)]
    assert len(list(changelog.entries(tree, LAYOUT))) == 1000


def test_many_entries_at_once_rotate_as_often_as_needed():
    tree = grown(950)
    assert tree.list(FOLDER) == [f"{n:06d}.yaml" for n in range(4)]
    assert ids(changelog.entries(tree, LAYOUT)) == ids(map(entry, range(950)))


def test_a_head_of_few_but_large_entries_rotates_by_its_bytes():
    tree = Tree()
    for number in range(40):
        tree.edit(changelog.append(tree, LAYOUT, [entry(number, message="x" * 8000, metadata="y" * 8000)]))
    assert tree.list(FOLDER)
    assert max(map(len, tree.values())) < 300_000
    assert ids(changelog.entries(tree, LAYOUT)) == ids(map(entry, range(40)))


def test_paths_that_do_not_fit_are_counted():
    tree = Tree().edit(
        changelog.append(Tree(), LAYOUT, [entry(1, paths=[f"src/{'d' * 90}/{n}.py" for n in range(5000)])])
    )
    (written,) = changelog.entries(tree, LAYOUT)
    assert 100 < len(written["paths"]) < 5000
    assert written["paths_omitted"] == 5000 - len(written["paths"])


def test_a_message_as_long_as_a_book_is_cut_and_does_not_fail_the_commit():
    tree = Tree().edit(changelog.append(Tree(), LAYOUT, [entry(1, message="\x00" * 100_000)]))
    (written,) = changelog.entries(tree, LAYOUT)
    assert 1000 < len(written["message"]) < 10_000
    assert written["message"].endswith("…")


@pytest.mark.parametrize("data", ["x" * 40_000, list(range(11_000)), [[]] * 11_000])
def test_an_entry_larger_than_the_reader_takes_back_is_refused(data: object):
    with pytest.raises(Problem, match="more than an entry holds"):
        changelog.append(Tree(), LAYOUT, [entry(1, metadata=data)])


def test_an_append_parses_nothing_and_does_not_grow_with_the_number_of_entries(
    monkeypatch: pytest.MonkeyPatch,
):
    tree = grown(1199)
    tree.edit(changelog.append(tree, LAYOUT, [entry(1199)]))
    studies = counted(monkeypatch, lines, "_study", lines._study)
    tree.reads = 0
    for number in range(1200, 1400):
        tree.edit(changelog.append(tree, LAYOUT, [entry(number)]))
    assert len(studies) <= 1  # the empty head after the one rotation
    assert tree.reads == 200


def test_comments_and_block_style_of_a_person_stay_when_an_entry_is_added():
    mine = (
        "# our log\n- id: chg_1   # the first\n  timestamp: 2026-11-21\n  paths:\n    - a\n\n"
        "# more below\n- {id: chg_2, timestamp: 2026-11-22}\n# end\n"
    )
    tree = Tree({HEAD: mine.encode()})
    tree.edit(changelog.append(tree, LAYOUT, [entry(3)]))
    assert tree.text(HEAD).startswith(mine)
    assert ids(changelog.entries(tree, LAYOUT)) == ["chg_1", "chg_2", entry(3)["id"]]
    assert len(tree.yaml(HEAD)) == 3


def test_a_hand_edited_file_is_parsed_once_and_never_again_while_it_grows(monkeypatch: pytest.MonkeyPatch):
    tree = Tree({HEAD: b"# ours\n- id: chg_1\n  timestamp: 2026-11-21\n"})
    tree.edit(changelog.append(tree, LAYOUT, [entry(3)]))
    reads = counted(monkeypatch, lines, "read", lines.read)
    for number in range(4, 30):
        tree.edit(changelog.append(tree, LAYOUT, [entry(number)]))
    assert reads == []
    assert len(tree.yaml(HEAD)) == 28


@pytest.mark.parametrize(
    "mine",
    [
        '[{id: chg_1, timestamp: 2026-11-21}]',
        '--- \n- {id: chg_1, timestamp: 2026-11-21}\n...\n',
        '- id: chg_1\n  timestamp: 2026-11-21\n  message: |\n    - {"id": "chg_9"}\n',
        '  - id: chg_1\n    timestamp: 2026-11-21',
        '- {"id": "chg_1", "timestamp": "2026-11-21"}\r\n',
        '\ufeff- {"id": "chg_1", "timestamp": "2026-11-21"}\n',
        '-\n  id: chg_1\n  timestamp: 2026-11-21\n',
        '- &a {id: chg_1, timestamp: &t 2026-11-21, message: *t}\n',
        '- {"id": "chg_1", "timestamp": "2026-11-21"}',
    ],
)  # fmt: skip
def test_whatever_form_a_person_chose_an_append_adds_one_entry_and_loses_none(mine: str):
    tree = Tree({HEAD: mine.encode()})
    for number in (2, 3, 4):
        tree.edit(changelog.append(tree, LAYOUT, [entry(number)]))
        assert ids(changelog.entries(tree, LAYOUT)) == ["chg_1", *ids(map(entry, range(2, number + 1)))]
        assert len(tree.yaml(HEAD)) == number


def test_two_entries_that_share_an_id_by_mistake_are_both_kept():
    mine = "- {id: chg_1, timestamp: 2026-11-21, message: a}\n- {id: chg_1, timestamp: 2026-11-21, message: b}\nx"
    tree = Tree({HEAD: mine[:-1].encode()})
    tree.edit(changelog.append(tree, LAYOUT, [entry(2)]))
    assert [e["message"] for e in changelog.entries(tree, LAYOUT)] == ["a", "b", "Add parser"]


@pytest.mark.parametrize(
    "broken",
    [
        b"- {id: a\n<<<<<<< ours\n",
        b"- {id: a, id: b}\n",
        b"version: 1\n",
        b"- just text\n",
        b"\xff\xfe",
        b"# x\n" * 400_000,
        b"- &a [x, x, x]\n- &b [*a, *a]\n",
        b"[" * 5000,
        b"- {id: !!python/object:os.system x}\n",
        b'- {"id": "\\ud83d\\ude00"}\n',
    ],
)
def test_a_broken_head_neither_fails_the_append_nor_loses_its_text(broken: bytes):
    tree = grown(450)
    tree[HEAD] = broken
    tree.edit(changelog.append(tree, LAYOUT, [entry(900)]))
    assert tree[f"{FOLDER}/000002.yaml.broken"] == broken
    assert tree.yaml(HEAD) == [entry(900)]
    assert ids(changelog.entries(tree, LAYOUT)) == ids([entry(n) for n in range(400)] + [entry(900)])
    (found,) = changelog.issues(tree, LAYOUT)
    assert found.path == f"{FOLDER}/000002.yaml.broken"
    assert "000002.yaml" in found.hint


def test_a_mended_file_returns_to_its_place_by_its_old_name():
    tree = grown(250)
    whole = tree[HEAD]
    tree[HEAD] = whole + b"- {\n"
    tree.edit(changelog.append(tree, LAYOUT, [entry(900)]))
    del tree[f"{FOLDER}/000001.yaml.broken"]
    tree[f"{FOLDER}/000001.yaml"] = whole
    assert ids(changelog.entries(tree, LAYOUT)) == ids([entry(n) for n in range(250)] + [entry(900)])
    assert changelog.issues(tree, LAYOUT) == []
    tree.edit(changelog.append(tree, LAYOUT, [entry(n) for n in range(1000, 1300)]))
    assert tree.list(FOLDER) == ["000000.yaml", "000001.yaml", "000002.yaml"]


def test_a_broken_rotated_block_is_reported_and_the_rest_is_read():
    tree = grown(250)
    tree[f"{FOLDER}/000000.yaml"] = b"- {\n"
    assert ids(changelog.entries(tree, LAYOUT)) == ids([entry(n) for n in range(200, 250)])
    assert [(i.path, i.line) for i in changelog.issues(tree, LAYOUT)] == [(f"{FOLDER}/000000.yaml", 2)]


def test_since_gives_what_is_new_across_rotations_and_reads_no_common_block(monkeypatch: pytest.MonkeyPatch):
    old = grown(450)
    new = copy(old)
    new.edit(changelog.append(new, LAYOUT, [entry(n) for n in range(450, 700)]))
    assert changelog.since(old, new, LAYOUT) == [entry(n) for n in range(450, 700)]
    assert changelog.since(new, old, LAYOUT) == []
    assert changelog.since(Tree(), old, LAYOUT) == [entry(n) for n in range(450)]
    assert changelog.since(old, old, LAYOUT) == []


@pytest.mark.parametrize("bad", [{"id": ""}, {"timestamp": "yesterday"}, {"paths": "a"}, {"message": 5}])
def test_an_entry_that_breaks_its_schema_is_refused(bad: dict[str, object]):
    with pytest.raises(Problem) as refused:
        changelog.append(Tree(), LAYOUT, [entry(1, **bad)])
    assert refused.value.code == "validation_failed"


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(any_text, values), max_size=8), st.booleans())
def test_any_text_in_an_entry_comes_back_from_the_fast_path_and_from_a_foreign_reader(
    rows: list[tuple[str, object]], cold: bool
):
    tree, want = Tree(), []
    for number, (message, extra) in enumerate(rows):
        want.append(entry(number, message=message, metadata=extra))
        tree.edit(changelog.append(tree, LAYOUT, [want[-1]]))
        if cold:
            lines.KNOWN.clear()
    assert list(changelog.entries(tree, LAYOUT)) == want
    if want:
        assert tree.yaml(HEAD) == want


def test_an_empty_log_as_scaffolded_takes_its_first_entry():
    tree = Tree({HEAD: b"# kept\n[]\n"})
    tree.edit(changelog.append(tree, LAYOUT, [entry(1)]))
    assert tree.text(HEAD).startswith("# kept\n- {")
    assert tree.yaml(HEAD) == [entry(1)]
