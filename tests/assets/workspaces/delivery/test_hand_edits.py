"""Files in every form a person may give them: each write changes the one item it is for, and nothing is lost."""

import random
from typing import Any

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from builderos.assets.workspaces.delivery import changelog, lines, memory, tasks
from builderos.assets.workspaces.delivery.parse import Unreadable
from builderos.assets.workspaces.delivery.shapes import CHANGELOG, MEMORY, TASKS, Shape, read
from tests.assets.workspaces.delivery.trees import LAYOUT, Tree, entry

FIELDS = ["description", "notes", "tags", "more"]
words = st.sampled_from(
    [
        "",
        "plain words",
        "yes",
        "1.10",
        "2026-11-21",
        "# no comment",
        "a: b",
        "two\nlines\n",
        "é 🚀",
        "- x",
        "{",
        "'",
    ]
)
content = (
    words
    | st.lists(words, max_size=3)
    | st.dictionaries(st.sampled_from(["k", "l m", "on"]), words, max_size=2)
)
item = st.dictionaries(st.sampled_from(FIELDS), content, max_size=3)
keys = st.sampled_from(["a", "b/c.py", "d e", "1.10", "no", "é"])
style = st.fixed_dictionaries(
    {
        "default_flow_style": st.sampled_from([None, True, False]),
        "default_style": st.sampled_from([None, '"', "'", "|"]),
        "indent": st.integers(2, 6),
        "width": st.sampled_from([20, 80, 1000]),
        "explicit_start": st.booleans(),
        "explicit_end": st.booleans(),
        "allow_unicode": st.booleans(),
        "sort_keys": st.booleans(),
        "line_break": st.sampled_from(["\n", "\r\n"]),
    }
)


def document(shape: Shape, items: dict[str, Any], extras: dict[str, Any]) -> Any:
    if shape is TASKS:
        return {"version": 1, "tasks": items, **extras}
    listed = [{shape.keys[0]: key, **value} for key, value in items.items()]
    return {"version": 1, **extras, "files": listed} if shape is MEMORY else listed


def written(form: Any, how: dict[str, Any], seed: int) -> bytes:
    """The document in one of YAML's many forms, with comments and blank lines strewn in."""
    dice = random.Random(seed)
    out: list[str] = []
    for line in yaml.dump(form, Dumper=yaml.SafeDumper, **how).split("\n"):
        if dice.random() < 0.15:
            out.append(dice.choice(["# words", "", "    # - {deep}", "#"]))
        out.append(line + (dice.choice(["  # aside", " "]) if line and dice.random() < 0.1 else ""))
    text = "\n".join(out)
    return (text.rstrip("\n") if dice.random() < 0.2 else text).encode()


def held(shape: Shape, data: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    doc = read(shape, data)
    return doc.pairs, doc.extras


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([MEMORY, TASKS]),
    st.dictionaries(keys, item, max_size=5),
    st.dictionaries(st.sampled_from(["team", "zeta"]), content, max_size=2),
    style,
    st.integers(0, 10**6),
    st.lists(st.tuples(st.booleans(), keys, words), min_size=1, max_size=6),
)
def test_writes_into_a_file_of_any_form_change_one_item_each(
    shape: Shape,
    items: dict[str, Any],
    extras: dict[str, Any],
    how: dict[str, Any],
    seed: int,
    rows: list[tuple[bool, str, str]],
):
    data = written(document(shape, items, extras), how, seed)
    try:
        model, beside = held(shape, data)
        foreign = yaml.safe_load(data)
    except (Unreadable, yaml.YAMLError):
        assume(False)
        return
    block = lines.Block(shape, data)
    alike = foreign == document(shape, items, extras)
    for remove, key, value in rows:
        if remove:
            block.remove(key)
            model.pop(key, None)
        else:
            new = {"path": key, "notes": value} if shape is MEMORY else {"notes": value}
            assert block.get(key) == model.get(key)
            block.put(key, new)
            model[key] = new
        block = lines.Block(shape, block.close())
        assert held(shape, block.data) == (model, beside)
        assert dict(block.items()) == model
        assert len(block) == len(model)
        learnt, fresh = block.known, lines._study(shape, block.data)
        assert (learnt.count, learnt.theirs) == (fresh.count, fresh.theirs)
        assert learnt.ours == fresh.ours or fresh.ours is None
        if alike:
            bare = {k: {f: v for f, v in value.items() if f != "path"} for k, value in model.items()}
            assert normal(yaml.safe_load(block.data)) == normal(document(shape, bare, beside))


def normal(form: Any) -> Any:
    """Items by key: the order of items is the file's own, and no items is none, an empty list or an empty mapping."""
    items = form.get("files") or form.get("tasks") or {}
    if isinstance(items, list):
        items = {value["path"]: value for value in items}
    return {**{k: v for k, v in form.items() if k not in ("files", "tasks")}, "items": items}


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(keys, item, min_size=1, max_size=5),
    style,
    st.integers(0, 10**6),
    st.integers(0, 3),
    st.booleans(),
)
def test_an_append_to_a_log_of_any_form_or_of_no_form_loses_no_text(
    items: dict[str, Any], how: dict[str, Any], seed: int, cuts: int, cold: bool
):
    dice = random.Random(seed)
    rows = written(document(CHANGELOG, items, {}), how, seed).split(b"\n")
    for _ in range(cuts):  # a slip of the hand: a line lost, doubled or moved in
        at = dice.randrange(len(rows))
        rows[at : at + 1] = dice.choice([[b""], [rows[at]] * 2, [b"  " + rows[at]], [rows[at][:-1]]])
    data = b"\n".join(rows)
    tree = Tree({LAYOUT.changelog: data})
    try:
        before = [e.item for e in read(CHANGELOG, data).entries]
    except Unreadable:
        before = None
    for number in range(3):
        tree.edit(changelog.append(tree, LAYOUT, [entry(number)]))
        if cold:
            lines.KNOWN.clear()
    added = [entry(number) for number in range(3)]
    if before is None:
        assert tree["project/changelog/000000.yaml.broken"] == data
        assert list(changelog.entries(tree, LAYOUT)) == added
    else:
        got = list(changelog.entries(tree, LAYOUT))
        assert got[-3:] == added
        assert all(item in got for item in before)
        assert yaml.safe_load(tree[LAYOUT.changelog])


@pytest.mark.parametrize("form", ["\n", "\r\n"])
def test_a_file_whose_line_ends_an_editor_has_changed_still_takes_the_fast_path(
    form: str, monkeypatch: pytest.MonkeyPatch
):
    tree = Tree().edit(memory.upsert(Tree(), LAYOUT, [{"path": f"f{n}"} for n in range(5)]))
    tree[LAYOUT.memory] = tree[LAYOUT.memory].replace(b"\n", form.encode())
    tree.edit(memory.upsert(tree, LAYOUT, [{"path": "f1", "sha": "0"}]))
    parses: list[int] = []
    monkeypatch.setattr(lines, "read", lambda *_: parses.append(1))
    tree.edit(memory.upsert(tree, LAYOUT, [{"path": "f1", "sha": "1"}, {"path": "f2", "sha": "2"}]))
    assert parses == []
    assert {e["path"]: e.get("sha") for e in tree.yaml(LAYOUT.memory)["files"]} == {
        "f0": None, "f1": "1", "f2": "2", "f3": None, "f4": None,
    }  # fmt: skip


def test_values_that_yaml_versions_read_differently_stay_as_they_were_written():
    text = (
        b"tasks:\n  2.10: {title: yes, phase: 0123, prompt: 12e34, created_at: 2026-11-21,\n"
        b"    x: 1.5, y: 7, z: ~, t: true}\n"
    )
    tree = Tree({LAYOUT.task: text})
    assert tasks.every(tree, LAYOUT) == {
        "2.10": {
            "title": "yes", "phase": "0123", "prompt": "12e34", "created_at": "2026-11-21",
            "x": 1.5, "y": 7, "z": None, "t": True,
        }
    }  # fmt: skip
    tree.edit(tasks.upsert(tree, LAYOUT, "2.10", {"status": "done"}))
    assert tree.yaml(LAYOUT.task)["tasks"]["2.10"] == tasks.get(tree, LAYOUT, "2.10")
