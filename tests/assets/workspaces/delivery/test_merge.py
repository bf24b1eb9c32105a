from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builderos.assets.workspaces.delivery import changelog, lines, memory, merge_delivery, reverts, tasks
from builderos.core.problems import Problem
from tests.assets.workspaces.delivery.trees import LAYOUT, Tree, copy, entry, ids, memory_item, task

LOG, MEMORY, TASKS = "project/changelog.yaml", "project/memory.yaml", "project/task.yaml"
REVERTS = ".logs/reverted_commits.yaml"


def revert(number: int, **more: Any) -> dict[str, Any]:
    return {
        "reverted_sha": f"{number:040x}",
        "new_sha_of": f"chg_{number}",
        "paths": ["a"],
        "at": "2026-11-21",
    } | more


def logged(tree: Tree, *numbers: int, **more: Any) -> Tree:
    return tree.edit(changelog.append(tree, LAYOUT, [entry(n, **more) for n in numbers]))


def merged(base: Tree, ours: Tree, theirs: Tree) -> Tree:
    """The merge, after proof that it comes out alike from the other side and that a second one changes nothing."""
    here = copy(ours).edit(merge_delivery(base, ours, theirs, LAYOUT))
    there = copy(theirs).edit(merge_delivery(base, theirs, ours, LAYOUT))
    assert meaning(here) == meaning(there)
    assert merge_delivery(theirs, here, theirs, LAYOUT) == {}
    assert meaning(copy(theirs).edit(merge_delivery(theirs, theirs, here, LAYOUT))) == meaning(here)
    return here


def meaning(tree: Tree) -> dict[str, Any]:
    log = list(changelog.entries(tree, LAYOUT))
    undone = list(reverts.entries(tree, LAYOUT))
    return {
        "log": {str(sorted(item.items(), key=repr)) for item in log},
        "log count": len(log),
        "reverts": {str(sorted(item.items(), key=repr)) for item in undone},
        "revert count": len(undone),
        "memory": memory.every(tree, LAYOUT),
        "tasks": tasks.every(tree, LAYOUT),
        "aside": sorted(data for path, data in tree.items() if path.endswith(".broken")),
    }


# ---------------------------------------------------------------- logs


def test_entries_of_both_sides_are_kept_and_none_is_doubled():
    base = logged(Tree(), 1, 2)
    out = merged(base, logged(copy(base), 3, 5), logged(copy(base), 4, 6))
    assert ids(changelog.entries(out, LAYOUT)) == ids([entry(n) for n in (1, 2, 3, 5, 4, 6)])


def test_two_sides_that_have_both_rotated_keep_every_entry_and_our_rotated_blocks_do_not_change():
    base = logged(Tree(), *range(150))
    ours, theirs = logged(copy(base), *range(1000, 1250)), logged(copy(base), *range(2000, 2250))
    out = merged(base, ours, theirs)
    got = ids(changelog.entries(out, LAYOUT))
    assert len(got) == 650
    assert set(got) == set(ids(map(entry, [*range(150), *range(1000, 1250), *range(2000, 2250)])))
    assert all(out[path] == data for path, data in ours.items() if path != LOG)


def test_merging_back_and_forth_doubles_nothing():
    main = logged(Tree(), *range(190))
    side, number = copy(main), 1000
    last = copy(main)
    for _ in range(6):
        number += 100
        logged(main, *range(number, number + 30))
        logged(side, *range(number + 50, number + 90))
        tip = copy(side)
        main.edit(merge_delivery(last, main, side, LAYOUT))
        side.edit(merge_delivery(tip, side, main, LAYOUT))
        last = copy(side)
    assert len(list(changelog.entries(main, LAYOUT))) == 190 + 6 * 70
    assert sorted(ids(changelog.entries(main, LAYOUT))) == sorted(ids(changelog.entries(side, LAYOUT)))


def test_a_side_that_has_not_moved_takes_the_other_sides_files_as_they_are():
    base = logged(Tree(), *range(10))
    theirs = logged(copy(base), *range(10, 450))
    theirs[LOG] = b"# theirs\n" + theirs[LOG]
    assert merge_delivery(base, base, theirs, LAYOUT) == {k: v for k, v in theirs.items() if base.get(k) != v}
    assert merge_delivery(base, theirs, base, LAYOUT) == {}


def test_an_entry_that_one_side_has_deleted_comes_back_because_a_log_only_grows():
    base = logged(Tree(), 1, 2, 3)
    theirs = logged(Tree(), 1, 3)
    assert set(ids(changelog.entries(merged(base, copy(base), theirs), LAYOUT))) == set(
        ids(map(entry, (1, 2, 3)))
    )


@pytest.mark.parametrize("corrected", [3, 203])
def test_an_entry_that_a_person_has_corrected_keeps_the_correction(corrected: int):
    base = logged(Tree(), *range(210))
    theirs = copy(base)
    path = LOG if corrected > 200 else "project/changelog/000000.yaml"
    line = f'"src/a{corrected}.py"], "message": "Add parser"'.encode()
    theirs[path] = theirs[path].replace(line, line.replace(b"Add parser", b"Add the parser"))
    assert theirs != base
    out = merged(base, logged(copy(base), 900), logged(theirs, 901))
    assert [e["message"] for e in changelog.entries(out, LAYOUT) if e["message"] != "Add parser"] == [
        "Add the parser"
    ]
    assert len(list(changelog.entries(out, LAYOUT))) == 212


def test_our_comments_in_the_head_stay_when_entries_come_in():
    base = logged(Tree(), 1)
    ours = copy(base)
    ours[LOG] = b"# mine\n" + ours[LOG]
    out = merged(base, ours, logged(copy(base), 2))
    assert out.text(LOG).startswith("# mine\n")


def test_entries_without_an_id_are_told_apart_by_what_they_say():
    base = Tree({LOG: b"- {message: a}\n"})
    ours, theirs = (
        Tree({LOG: base[LOG] + b"- {message: b}\n"}),
        Tree({LOG: base[LOG] + b"- {message: b}\n- {message: c}\n"}),
    )
    assert [e["message"] for e in changelog.entries(merged(base, ours, theirs), LAYOUT)] == ["a", "b", "c"]


def test_reverts_are_united_by_what_was_reverted_and_by_which_entry():
    base = Tree().edit(reverts.append(Tree(), LAYOUT, [revert(1)]))
    ours = copy(base).edit(reverts.append(base, LAYOUT, [revert(2), revert(3)]))
    theirs = copy(base).edit(reverts.append(base, LAYOUT, [revert(3), revert(4)]))
    out = merged(base, ours, theirs)
    assert [e["new_sha_of"] for e in reverts.entries(out, LAYOUT)] == ["chg_1", "chg_2", "chg_3", "chg_4"]


def test_a_broken_head_set_aside_on_the_other_side_comes_along_and_goes_when_it_is_dealt_with():
    base = logged(Tree(), *range(250))
    theirs = copy(base)
    theirs[LOG] += b"- {\n"
    logged(theirs, 900)
    ours = logged(copy(base), *range(1000, 1400))
    out = merged(base, ours, theirs)
    (aside,) = [path for path in out if path.endswith(".broken")]
    assert out[aside] == theirs["project/changelog/000001.yaml.broken"]
    assert aside.removesuffix(".broken") not in out
    cured = copy(out)
    del cured[aside]
    assert aside not in merged(out, logged(copy(out), 2000), logged(cured, 2001))


@pytest.mark.parametrize("path", [LOG, MEMORY, TASKS, REVERTS])
@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_a_file_that_cannot_be_read_stops_the_merge_with_side_file_and_line(path: str, side: str):
    base = logged(Tree(), 1)
    sides = {"ours": logged(copy(base), 2), "theirs": logged(copy(base), 3)}
    for tree in sides.values():
        tree.edit(tasks.upsert(tree, LAYOUT, "a", task())).edit(
            memory.upsert(tree, LAYOUT, [memory_item("a")])
        )
    sides[side][path] = b"\n- {\n"
    with pytest.raises(Problem) as refused:
        merge_delivery(base, sides["ours"], sides["theirs"], LAYOUT)
    assert refused.value.code == "validation_failed"
    assert refused.value.detail.startswith(f"{path} ({side}), line ")
    assert (refused.value.extra["path"], refused.value.extra["side"]) == (path, side)


def test_an_ancestor_that_cannot_be_read_does_not_stop_the_merge():
    base = Tree({LOG: b"- {", MEMORY: b"{", TASKS: b"["})
    ours, theirs = logged(Tree(), 1), logged(Tree(), 2)
    ours.edit(tasks.upsert(ours, LAYOUT, "a", task())).edit(memory.upsert(ours, LAYOUT, [memory_item("a")]))
    theirs.edit(tasks.upsert(theirs, LAYOUT, "b", task())).edit(
        memory.upsert(theirs, LAYOUT, [memory_item("b")])
    )
    out = merged(base, ours, theirs)
    assert set(ids(changelog.entries(out, LAYOUT))) == set(ids(map(entry, (1, 2))))
    assert set(tasks.every(out, LAYOUT)) == set(memory.every(out, LAYOUT)) == {"a", "b"}


# ---------------------------------------------------------------- memory and tasks

STAMPS = ["2026-11-21T10:00:00Z", "2026-11-21T12:00:00+01:00", "2026-11-21T11:30:00.5Z"]  # ascending


def one(value: dict[str, Any] | None) -> Tree:
    """A tree in which both a task and a path have this value."""
    tree = Tree().edit(tasks.upsert(Tree(), LAYOUT, "other", task()))
    if value is None:
        return tree
    tree.edit(tasks.upsert(tree, LAYOUT, "a", {"title": value["v"], "updated_at": value["at"]}))
    return tree.edit(
        memory.upsert(tree, LAYOUT, [{"path": "a", "description": value["v"], "last_updated": value["at"]}])
    )


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "want"),
    [
        ("x0", "x0", "y1", "y"), ("x0", "y1", "x0", "y"), ("x0", "y1", "y1", "y"),
        ("x0", "y1", "z2", "z"), ("x0", "y2", "z1", "y"), ("x2", "y2", "z0", "y"),
        (None, "y0", "z1", "z"), (None, None, "z1", "z"), (None, "y0", None, "y"),
        ("x0", None, "x0", None), ("x0", "x0", None, None), ("x0", None, None, None),
        ("x0", None, "y1", "y"), ("x0", "y1", None, "y"), ("x0", "y1", "z1", "z"),
    ],
)  # fmt: skip
def test_three_ways_of_one_item(base: str | None, ours: str | None, theirs: str | None, want: str | None):
    trees = [one({"v": v[0], "at": STAMPS[int(v[1])]} if v else None) for v in (base, ours, theirs)]
    out = merged(*trees)
    kept = memory.get(out, LAYOUT, "a")
    assert (kept and kept["description"]) == want
    held = tasks.get(out, LAYOUT, "a")
    assert (held and held["title"]) == want
    assert tasks.get(out, LAYOUT, "other") == task()


def test_a_side_that_has_sharded_merges_with_one_that_has_not():
    base = Tree().edit(memory.upsert(Tree(), LAYOUT, [memory_item(f"f{n}") for n in range(150)]))
    ours = copy(base).edit(memory.upsert(base, LAYOUT, [memory_item(f"g{n}") for n in range(150)]))
    theirs = copy(base).edit(memory.upsert(base, LAYOUT, [memory_item(f"h{n}") for n in range(20)]))
    theirs.edit(memory.remove(theirs, LAYOUT, ["f3"]))
    theirs.edit(
        memory.upsert(theirs, LAYOUT, [memory_item("f4", sha="n", last_updated="2026-12-01T00:00:00Z")])
    )
    out = merged(base, ours, theirs)
    held = memory.every(out, LAYOUT)
    assert len(held) == 150 + 150 + 20 - 1
    assert held["f4"]["sha"] == "n"
    assert "f3" not in held


def test_a_merge_of_memory_reads_only_the_shards_in_which_a_side_has_changed(monkeypatch: pytest.MonkeyPatch):
    base = Tree().edit(memory.upsert(Tree(), LAYOUT, [memory_item(f"f{n}") for n in range(3000)]))
    ours = copy(base).edit(memory.upsert(base, LAYOUT, [memory_item("f1", sha="1")]))
    theirs = copy(base).edit(memory.upsert(base, LAYOUT, [memory_item("f2", sha="2")]))
    items: list[int] = []
    real = lines.Block.items
    monkeypatch.setattr(lines.Block, "items", lambda block: items.append(1) or real(block))
    edits = merge_delivery(base, ours, theirs, LAYOUT)
    assert len(edits) == 1
    assert len(items) <= 4


def test_what_people_have_put_beside_the_items_is_merged_as_well():
    base = Tree(
        {TASKS: b"version: 1\nteam: blue\nroom: 1\ntasks: {}\n", MEMORY: b"version: 1\nnote: a\nfiles: []\n"}
    )
    ours = Tree(
        {
            TASKS: base[TASKS].replace(b"blue", b"red"),
            MEMORY: base[MEMORY].replace(b"files", b"more: 1\nfiles"),
        }
    )
    theirs = Tree(
        {
            TASKS: base[TASKS].replace(b"room: 1\n", b"floor: 2\n"),
            MEMORY: base[MEMORY].replace(b" a\n", b" b\n"),
        }
    )
    out = merged(base, ours, theirs)
    assert out.yaml(TASKS) == {"version": 1, "team": "red", "floor": 2, "tasks": {}}
    assert out.yaml(MEMORY) == {"version": 1, "note": "b", "more": 1, "files": []}


def test_a_merge_of_trees_without_delivery_files_is_nothing():
    assert merge_delivery(Tree(), Tree(), Tree(), LAYOUT) == {}
    assert merge_delivery(Tree(), Tree(), logged(Tree(), 1), LAYOUT) == dict(logged(Tree(), 1))


# ---------------------------------------------------------------- any history

move = st.one_of(
    st.tuples(st.just("log"), st.integers(0, 30), st.sampled_from("ab")),
    st.tuples(st.just("revert"), st.integers(0, 5), st.sampled_from("ab")),
    st.tuples(st.just("memory"), st.integers(0, 12), st.sampled_from("abc-")),
    st.tuples(st.just("task"), st.integers(0, 5), st.sampled_from("abc-")),
)
moves = st.lists(move, max_size=25)


def play(tree: Tree, rows: list[tuple[str, int, str]], first: int) -> Tree:
    for turn, (what, number, letter) in enumerate(rows):
        at = f"2026-11-21T00:{turn:02d}:00Z"
        if what == "log":
            logged(tree, first + turn, message=letter)
        elif what == "revert":
            known = {item["new_sha_of"] for item in reverts.entries(tree, LAYOUT)}
            tree.edit(
                reverts.append(
                    tree, LAYOUT, [revert(n, reason=letter) for n in {number} if f"chg_{n}" not in known]
                )
            )
        elif letter == "-":
            tree.edit(
                memory.remove(tree, LAYOUT, [f"f{number}"])
                if what == "memory"
                else tasks.remove(tree, LAYOUT, f"t{number}")
            )
        elif what == "memory":
            tree.edit(
                memory.upsert(tree, LAYOUT, [{"path": f"f{number}", "sha": letter, "last_updated": at}])
            )
        else:
            tree.edit(tasks.upsert(tree, LAYOUT, f"t{number}", {"title": letter, "updated_at": at}))
    return tree


def wanted(base: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any], stamp: str) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key in ours.keys() | theirs.keys():
        b, o, t = base.get(key), ours.get(key), theirs.get(key)
        changed = [x for x in (o, t) if x != b]
        kept = [x for x in changed if x is not None]
        if kept:
            out[key] = max(kept, key=lambda x: (x[stamp], str(sorted(x.items()))))
        elif not changed:
            out[key] = b
    return out


@settings(max_examples=200, deadline=None)
@given(moves, moves, moves, st.integers(1, 5))
def test_any_two_histories_merge_without_loss_and_alike_from_both_sides(
    before: list[tuple[str, int, str]],
    left: list[tuple[str, int, str]],
    right: list[tuple[str, int, str]],
    limit: int,
):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BLOCK_ITEMS", limit)  # so that few entries rotate and shard often
        lines.KNOWN.clear()
        base = play(Tree(), before, 0)
        ours, theirs = play(copy(base), left, 1000), play(copy(base), right, 2000)
        out = merged(base, ours, theirs)
    got = ids(changelog.entries(out, LAYOUT))
    assert len(got) == len(set(got))
    assert set(got) == {*ids(changelog.entries(ours, LAYOUT)), *ids(changelog.entries(theirs, LAYOUT))}
    for read, stamp in ((memory.every, "last_updated"), (tasks.every, "updated_at")):
        assert read(out, LAYOUT) == wanted(*(read(tree, LAYOUT) for tree in (base, ours, theirs)), stamp)
