import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builderos.assets.workspaces.delivery import lines, tasks
from builderos.core.problems import Problem
from tests.assets.workspaces.delivery.trees import LAYOUT, Tree, any_text, counted, task, values

PATH = "project/task.yaml"


def test_a_task_is_one_line_under_its_id():
    tree = Tree().edit(tasks.upsert(Tree(), LAYOUT, "2.1_parser", task()))
    assert tree.text(PATH).startswith('version: 1\ntasks:\n  2.1_parser: {"title": "Build parser"')
    assert tree.yaml(PATH) == {"version": 1, "tasks": {"2.1_parser": task()}}


def test_an_id_that_looks_like_a_number_is_quoted_and_stays_text():
    tree = Tree()
    for task_id in ("2.10", "2.1", "1e3", "007", "no", "null", "2026-11-21"):
        tree.edit(tasks.upsert(tree, LAYOUT, task_id, {"title": task_id}))
    assert tree.yaml(PATH)["tasks"] == {key: {"title": key} for key in tasks.every(tree, LAYOUT)}
    assert len(tasks.every(tree, LAYOUT)) == 7


def test_only_the_given_fields_of_a_task_change():
    tree = Tree()
    for number in range(3):
        tree.edit(tasks.upsert(tree, LAYOUT, f"t{number}", task()))
    before = tree.text(PATH).split("\n")
    tree.edit(tasks.upsert(tree, LAYOUT, "t1", {"status": "done"}))
    assert tasks.get(tree, LAYOUT, "t1") == task(status="done")
    assert sum(a != b for a, b in zip(before, tree.text(PATH).split("\n"), strict=True)) == 1


def test_a_removed_task_is_gone_and_the_last_one_leaves_an_empty_file():
    tree = Tree()
    for number in range(2):
        tree.edit(tasks.upsert(tree, LAYOUT, f"t{number}", task()))
    tree.edit(tasks.remove(tree, LAYOUT, "t0"))
    assert list(tasks.every(tree, LAYOUT)) == ["t1"]
    tree.edit(tasks.remove(tree, LAYOUT, "t1"))
    assert tree.text(PATH) == "version: 1\ntasks: {}\n"
    assert tasks.remove(tree, LAYOUT, "t1") == {}
    assert tasks.get(tree, LAYOUT, "t1") is None


@pytest.mark.parametrize("task_id", ["", ".x", "-x", "a b", "a/b", "ä", "x" * 65, "a\n", "a: b"])
def test_an_id_outside_the_rules_is_refused(task_id: str):
    with pytest.raises(Problem) as refused:
        tasks.upsert(Tree(), LAYOUT, task_id, task())
    assert refused.value.extra["field"] == "task_id"


@pytest.mark.parametrize(
    "bad", [{"status": "started"}, {"inputs": "a"}, {"depends_on": ["a b"]}, {"created_at": "soon"}]
)
def test_a_field_that_breaks_the_schema_is_refused(bad: dict[str, object]):
    with pytest.raises(Problem) as refused:
        tasks.upsert(Tree(), LAYOUT, "t", bad)
    assert refused.value.extra["field"] == next(iter(bad)) or next(iter(bad)) in refused.value.extra["field"]


@pytest.mark.parametrize("status", ["backlog", "ready", "in_progress", "blocked", "done", "failed"])
def test_every_state_of_a_task_is_written_as_plain_text(status: str):
    tree = Tree().edit(tasks.upsert(Tree(), LAYOUT, "t", {"status": status}))
    assert tree.yaml(PATH)["tasks"] == {"t": {"status": status}}


def test_a_broken_task_file_is_refused_with_file_and_line_and_stays_as_it_is():
    tree = Tree({PATH: b"version: 1\ntasks:\n  a: {title: x}\n  a: {title: y}\n"})
    with pytest.raises(Problem) as refused:
        tasks.upsert(tree, LAYOUT, "b", task())
    assert refused.value.code == "validation_failed"
    assert refused.value.detail == "project/task.yaml, line 4: duplicate key 'a'."
    assert refused.value.hint
    assert (refused.value.extra["path"], refused.value.extra["line"]) == (PATH, 4)


def test_what_a_person_wrote_around_a_task_stays_when_the_task_changes():
    mine = (
        "# plan\nversion: 1\nteam: blue\ntasks:\n\n  # parsing\n  2.1_parser:\n    title: Build parser   # soon\n"
        "    status: ready\n\n  # later\n  2.2_lexer: {title: Lexer}\n\nowner: me\n"
    )
    tree = Tree({PATH: mine.encode()})
    tree.edit(tasks.upsert(tree, LAYOUT, "2.1_parser", {"status": "done"}))
    assert tree.text(PATH) == (
        "# plan\nversion: 1\nteam: blue\ntasks:\n\n  # parsing\n"
        '  2.1_parser: {"title": "Build parser", "status": "done"}\n'
        "\n  # later\n  2.2_lexer: {title: Lexer}\n\nowner: me\n"
    )
    tree.edit(tasks.upsert(tree, LAYOUT, "2.3_docs", {"title": "Docs"}))
    assert "owner: me" in tree.text(PATH)
    assert "# later" in tree.text(PATH)
    assert list(tasks.every(tree, LAYOUT)) == ["2.1_parser", "2.2_lexer", "2.3_docs"]


def test_a_task_written_once_by_the_server_is_found_without_a_parse_in_a_file_of_a_person(
    monkeypatch: pytest.MonkeyPatch,
):
    tree = Tree({PATH: b"# plan\nversion: 1\nowner: me\ntasks:\n  a:\n    title: A\n  b: {title: B}\n"})
    tree.edit(tasks.upsert(tree, LAYOUT, "a", {"status": "done"}))
    reads = counted(monkeypatch, lines, "read", lines.read)
    for status in ("ready", "in_progress", "done"):
        tree.edit(tasks.upsert(tree, LAYOUT, "a", {"status": status}))
        assert tasks.get(tree, LAYOUT, "a") == {"title": "A", "status": status}
    assert reads == []
    assert tree.yaml(PATH)["tasks"]["b"] == {"title": "B"}


@pytest.mark.parametrize(
    "mine",
    [
        "{version: 1, tasks: {a: {title: A}, b: {title: B}}}",
        "tasks: {a: {title: A}, b: {title: B}}\n",
        "tasks:\n    'a':\n        title: A\n    b:\n        title: B\n    # end",
        "version: 1\r\ntasks:\r\n  a: {title: A}\r\n  b: {title: B}\r\n",
        "x: &x {title: B}\ntasks:\n  a: {title: A}\n  b: *x\n",
        "tasks:\n  a: &x\n    title: &t A\n  b:\n    title: B\n    also: *t\n    all: *x\n",
        "? tasks\n: ? a\n  : title: A\n  ? b\n  : title: B\n",
        "---\nversion: 1\ntasks:\n  a:\n    title: >-\n      A\n  b:\n    title: |-\n      B\n...\n",
        '\ufeffversion: 1\ntasks:\n  a: {"title": "A"}\n  b: {"title": "B"}\n',
        "version: 1\ntasks:\n  a: {title: A\n    }\n  b:\n    {title: B}",
    ],
)
def test_whatever_form_a_person_chose_exactly_the_one_task_changes(mine: str):
    before = tasks.every(Tree({PATH: mine.encode()}), LAYOUT)
    assert before["a"]["title"] == "A"
    assert before["b"]["title"] == "B"
    for task_id in ("a", "b", "c"):
        tree = Tree({PATH: mine.encode()})
        tree.edit(tasks.upsert(tree, LAYOUT, task_id, {"phase": "x"}))
        want = before | {task_id: before.get(task_id, {}) | {"phase": "x"}}
        assert tasks.every(tree, LAYOUT) == want
        assert tree.yaml(PATH)["tasks"] == want
        tree.edit(tasks.remove(tree, LAYOUT, task_id))
        assert tasks.every(tree, LAYOUT) == {key: value for key, value in before.items() if key != task_id}


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("ur"), st.sampled_from(["a", "b.1", "2.10", "no", "x-y_z"]), any_text, values
        )
    )
)
def test_any_sequence_of_writes_equals_a_dictionary(rows: list[tuple[str, str, str, object]]):
    tree, model = Tree(), dict[str, dict[str, object]]()
    for action, task_id, title, extra in rows:
        if action == "r":
            tree.edit(tasks.remove(tree, LAYOUT, task_id))
            model.pop(task_id, None)
        else:
            tree.edit(tasks.upsert(tree, LAYOUT, task_id, {"title": title, "extra": extra}))
            model[task_id] = {"title": title, "extra": extra}
        assert tasks.every(tree, LAYOUT) == model
    if PATH in tree:
        assert tree.yaml(PATH) == {"version": 1, "tasks": model}
