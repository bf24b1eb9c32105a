"""The tree over the ledger against an implementation that is not ours, and its proofs against forgery."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from builderos.core.merkle import (
    EMPTY,
    WIDTH,
    Tree,
    complete,
    fold,
    is_consistent,
    leaf,
    root_of_inclusion,
)

LINES = [i.to_bytes(32, "big") for i in range(1100)]
SIZES = [1, 2, 3, 7, 8, 255, 256, 257, 511, 512, 513, 768, 1023, 1024, 1025, 1100]


class Kept:
    """Nodes as a database keeps them: leaves, and each full tile's node above."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self.levels: list[list[bytes]] = [[leaf(line) for line in lines]]
        while len(self.levels[-1]) >= WIDTH:
            self.levels.append([hash_ for _, hash_ in complete(0, self.levels[-1])])
        self.reads: list[tuple[int, int]] = []

    def __call__(self, level: int, number: int) -> Sequence[bytes]:
        self.reads.append((level, number))
        return self.levels[level][number * WIDTH : (number + 1) * WIDTH]


@pytest.fixture(scope="module")
def theirs() -> InmemoryTree:
    tree = InmemoryTree(algorithm="sha256")
    for line in LINES:
        tree.append_entry(line)
    return tree


@pytest.mark.parametrize("size", SIZES)
def test_a_root_is_the_one_that_another_implementation_finds(theirs: InmemoryTree, size: int) -> None:
    assert Tree(Kept(LINES)).root(size) == theirs.get_root(size)
    assert fold([leaf(line) for line in LINES[:size]]) == theirs.get_root(size)


def test_no_lines_have_the_root_of_nothing() -> None:
    assert Tree(Kept([])).root(0) == fold([]) == EMPTY


@pytest.mark.parametrize("size", SIZES)
def test_an_inclusion_proof_is_the_one_that_another_implementation_finds(
    theirs: InmemoryTree, size: int
) -> None:
    tree = Tree(Kept(LINES))
    for index in {0, size // 3, size // 2, size - 1}:
        proof = tree.inclusion(index, size)
        expected = [bytes.fromhex(h) for h in theirs.prove_inclusion(index + 1, size).serialize()["path"]]
        assert sorted([leaf(LINES[index]), *proof]) == sorted(expected)
        assert root_of_inclusion(leaf(LINES[index]), index, size, proof) == theirs.get_root(size)


def by_definition(old: int, lines: Sequence[bytes], whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962, 2.1.2, word for word; pymerkle's own consistency proofs have another form."""
    if old == len(lines):
        return [] if whole else [_root(lines)]
    k = 1
    while k * 2 < len(lines):
        k *= 2
    if old <= k:
        return [*by_definition(old, lines[:k], whole), _root(lines[k:])]
    return [*by_definition(old - k, lines[k:], False), _root(lines[:k])]


def _root(lines: Sequence[bytes]) -> bytes:
    tree = InmemoryTree(algorithm="sha256")
    for line in lines:
        tree.append_entry(line)
    return tree.get_root()


@pytest.mark.parametrize(
    ("old", "size"), [*pairwise(SIZES), (1, 1100), (600, 1100), (1024, 1100), (256, 1025)]
)
def test_a_consistency_proof_is_the_one_that_the_standard_defines(
    theirs: InmemoryTree, old: int, size: int
) -> None:
    proof = Tree(Kept(LINES)).consistency(old, size)
    assert proof == by_definition(old, LINES[:size], True)
    assert is_consistent(old, size, theirs.get_root(old), theirs.get_root(size), proof)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 700), st.data())
def test_no_other_line_place_or_root_passes(size: int, data: st.DataObject) -> None:
    tree = Tree(Kept(LINES))
    index = data.draw(st.integers(0, size - 1))
    root, proof = tree.root(size), tree.inclusion(index, size)
    assert root_of_inclusion(leaf(LINES[index]), index, size, proof) == root
    other = data.draw(st.integers(0, size - 1).filter(lambda i: i != index)) if size > 1 else size
    assert root_of_inclusion(leaf(LINES[index]), other, size, proof) != root
    assert root_of_inclusion(leaf(b"forged"), index, size, proof) != root
    assert root_of_inclusion(leaf(LINES[index]), index, size, [*proof, root]) is None
    if proof:
        assert root_of_inclusion(leaf(LINES[index]), index, size, proof[:-1]) != root
        at = data.draw(st.integers(0, len(proof) - 1))
        forged = [bytes(32) if i == at else step for i, step in enumerate(proof)]
        assert root_of_inclusion(leaf(LINES[index]), index, size, forged) != root


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 700), st.data())
def test_no_other_history_is_consistent(size: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, size - 1))
    tree = Tree(Kept(LINES))
    before, after, proof = tree.root(old), tree.root(size), tree.consistency(old, size)
    assert is_consistent(old, size, before, after, proof)
    changed = data.draw(st.integers(0, old - 1))
    rewritten = Tree(Kept([*LINES[:changed], b"other", *LINES[changed + 1 : size]]))
    assert not is_consistent(old, size, before, rewritten.root(size), rewritten.consistency(old, size))
    assert not is_consistent(old, size, before, after, [*proof, after])
    assert not is_consistent(old, size, before, after, proof[:-1])
    assert not is_consistent(old, size, b"\0" * 32, after, proof)


def test_nothing_is_consistent_with_what_is_not_older() -> None:
    tree = Tree(Kept(LINES))
    assert is_consistent(5, 5, tree.root(5), tree.root(5), [])
    assert not is_consistent(5, 5, tree.root(5), tree.root(5), [EMPTY])
    assert not is_consistent(0, 5, EMPTY, tree.root(5), [])
    assert not is_consistent(6, 5, tree.root(6), tree.root(5), [EMPTY])


def test_a_proof_reads_a_handful_of_tiles_and_is_short() -> None:
    kept = Kept(LINES)
    proof = Tree(kept).inclusion(700, 1100)
    assert len(kept.reads) == len(set(kept.reads)) <= 4
    assert len(proof) <= 11


def test_a_missing_node_is_said_to_be_missing() -> None:
    kept = Kept(LINES)
    kept.levels[1].pop()
    with pytest.raises(LookupError, match="level 1"):
        Tree(kept).root(1100)
