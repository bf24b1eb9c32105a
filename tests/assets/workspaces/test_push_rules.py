"""The comparison of trees against a plain one, and what it lets through."""

import random
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from builderos.assets.repositories.service import BLOB, EXECUTABLE, LINK, SUBMODULE, TREE, Batch, Oid
from builderos.assets.workspaces.push_rules import Trees, additions, check_sizes, differing
from builderos.core.problems import Problem

Leaves = dict[str, tuple[int, bytes]]


class Nothing:
    """A store without objects."""

    def read(self, oid: Any, /) -> tuple[int, bytes]:
        raise KeyError(str(oid))


def build(batch: Batch, leaves: Mapping[str, tuple[int, bytes]]) -> Oid:
    """The tree that holds these files."""
    here: dict[str, tuple[int, bytes]] = {}
    below: dict[str, Leaves] = {}
    for path, (mode, content) in leaves.items():
        name, _, rest = path.partition("/")
        if rest:
            below.setdefault(name, {})[rest] = (mode, content)
        else:
            here[name] = (mode, batch.put("blob", content))
    here |= {name: (TREE, build(batch, inner)) for name, inner in below.items()}
    rows = sorted(
        (name + "/" if mode == TREE else name, name, mode, oid) for name, (mode, oid) in here.items()
    )
    return batch.put(
        "tree", b"".join(b"%o %s\0%s" % (mode, name.encode(), oid) for _, name, mode, oid in rows)
    )


def trees_of(batch: Batch, most: int = 10**9) -> Trees:
    return Trees(batch, lambda oid: len(batch.read(oid)[1]), most)


def throw(dice: random.Random, base: Leaves) -> Leaves:
    """Some files of `base` changed, removed, turned into folders, and new ones added."""
    out: Leaves = {}
    for path, leaf in base.items():
        fate = dice.random()
        if fate < 0.6:
            out[path] = leaf
        elif fate < 0.75:
            out[path] = (dice.choice((BLOB, EXECUTABLE)), b"%d" % dice.randrange(3))
        elif fate < 0.85:
            out[f"{path}/inner"] = leaf
    for _ in range(dice.randrange(4)):
        path = "/".join(dice.choice("abc") for _ in range(dice.randrange(1, 4)))
        if not any(p == path or p.startswith(f"{path}/") or path.startswith(f"{p}/") for p in out):
            out[path] = (BLOB, b"%d" % dice.randrange(3))
    return out


@pytest.mark.parametrize("seed", range(150))
def test_differing_is_what_a_comparison_of_all_files_finds(seed: int) -> None:
    dice, batch = random.Random(seed), Batch(Nothing())
    base = throw(dice, throw(dice, {}))
    sides = [throw(dice, base) for _ in range(dice.randrange(1, 4))]
    new = throw(dice, dice.choice([base, *sides]))
    expected = {
        path
        for path in {*new, *(p for side in sides for p in side)}
        if new.get(path) not in [s.get(path) for s in sides]
    }
    found = list(differing(trees_of(batch), build(batch, new), [build(batch, side) for side in sides]))
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize("seed", range(150))
def test_additions_are_the_files_that_neither_a_parent_nor_main_has(seed: int) -> None:
    dice, batch = random.Random(seed), Batch(Nothing())
    base = throw(dice, throw(dice, {}))
    *parents, main = [throw(dice, base) for _ in range(dice.randrange(2, 5))]
    new = throw(dice, dice.choice([base, main, *parents]))
    others = [*parents, main]
    found = additions(
        trees_of(batch), build(batch, new), [build(batch, p) for p in parents], build(batch, main)
    )
    files = {added.path: added for added in found if added.mode != TREE}
    expected = {path for path, leaf in new.items() if leaf not in [other.get(path) for other in others]}
    assert set(files) == expected
    names = {path for other in others for full in other for path in prefixes(full)}
    assert {path for path, added in files.items() if added.is_new} == expected - names


def prefixes(path: str) -> Iterable[str]:
    parts = path.split("/")
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]


def test_a_root_commit_adds_everything_that_main_lacks() -> None:
    batch = Batch(Nothing())
    new = build(batch, {"a": (BLOB, b"1"), "b/c": (BLOB, b"2")})
    main = build(batch, {"a": (BLOB, b"1")})
    found = additions(trees_of(batch), new, [], main)
    assert [(added.path, added.is_new) for added in found] == [("b", True), ("b/c", True)]


def test_a_submodule_is_known_by_any_side_that_has_one_there() -> None:
    batch = Batch(Nothing())
    one, two = (build(batch, {"lib": (SUBMODULE, content)}) for content in (b"1", b"2"))
    none = build(batch, {})
    for parents, main, known in (([one], none, True), ([none], one, True), ([none], none, False)):
        (added,) = additions(trees_of(batch), two, parents, main)
        assert added.was_submodule is known


def test_a_link_that_becomes_a_file_is_an_addition_that_is_not_new() -> None:
    batch = Batch(Nothing())
    before, after = build(batch, {"x": (LINK, b"t")}), build(batch, {"x": (BLOB, b"t")})
    (added,) = additions(trees_of(batch), after, [before], None)
    assert (added.mode, added.is_new) == (BLOB, False)


def test_the_work_is_bounded_and_what_is_equal_costs_nothing() -> None:
    batch = Batch(Nothing())
    wide = {f"d{n}/f{m}": (BLOB, b"%d" % m) for n in range(30) for m in range(30)}
    tree = build(batch, wide)
    edited = build(batch, wide | {"d7/f7": (BLOB, b"new")})
    assert [a.path for a in additions(trees_of(batch, 40), edited, [tree], None)] == ["d7", "d7/f7"]
    with pytest.raises(Problem) as caught:
        list(additions(trees_of(batch, 500), edited, [], None))
    assert caught.value.code == "payload_too_large"
    with pytest.raises(Problem):
        list(differing(trees_of(batch, 500), edited, [build(batch, {})]))


def test_a_folder_of_megabytes_is_not_parsed() -> None:
    batch = Batch(Nothing())
    tree = build(batch, {"a": (BLOB, b"1")})
    trees = Trees(batch, lambda _: (16 << 20) + 1)
    with pytest.raises(Problem, match="folder"):
        trees.rows(tree)


def test_only_files_that_main_does_not_hold_are_too_large() -> None:
    small, large, held = (bytes([n]) * 20 for n in range(3))
    sizes = [(small, 10), (held, 99), (large, 11)]
    paths = {small: "s", large: "l\x1b", held: "h"}
    with pytest.raises(Problem) as caught:
        check_sizes(sizes, paths, 10, lambda oid: oid == held)
    assert caught.value.detail == "l\\x1b has 11 bytes; the limit is 10"
    check_sizes(sizes[:2], paths, 10, lambda oid: oid == held)
