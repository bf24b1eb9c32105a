"""The tree over a ledger's lines (RFC 6962, section 2.1): roots, proofs that a line is in, proofs that it only grew.

A leaf is `sha256(0x00 + the line's hash)`, a node `sha256(0x01 + left + right)`. Of the nodes only those are kept that
stand over 256, 256², … lines: level 0 are the leaves, a node of level k + 1 stands over 256 nodes of level k. Whatever
lies between is computed again from at most 256 neighbours ("a tile").
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

WIDTH: Final = 256
_BITS: Final = 8
EMPTY: Final = hashlib.sha256(b"").digest()
Tiles = Callable[[int, int], Sequence[bytes]]


def leaf(line_hash: bytes) -> bytes:
    """The leaf of a line: 32 bytes."""
    return hashlib.sha256(b"\0" + line_hash).digest()


def node(left: bytes, right: bytes) -> bytes:
    """The node over two subtrees: 32 bytes."""
    return hashlib.sha256(b"\1" + left + right).digest()


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root over any number of subtrees of equal size, the last of which are on the right edge.

    A node that has no neighbour moves up as it is; that is the same tree as RFC 6962's recursive definition.
    """
    if not hashes:
        return EMPTY
    row, sha256 = list(hashes), hashlib.sha256
    while len(row) > 1:
        rest = row[-1:] if len(row) % 2 else []
        row = [sha256(b"\1" + a + b).digest() for a, b in zip(row[::2], row[1::2], strict=False)] + rest
    return row[0]


def complete(first: int, hashes: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
    """The nodes of the next level that nodes `first`… of one level fill: (index, hash). `first` begins a tile."""
    for start in range(0, len(hashes) - WIDTH + 1, WIDTH):
        yield (first + start) // WIDTH, fold(hashes[start : start + WIDTH])


class Tree:
    """Reads tiles: `tiles(level, t)` gives the nodes 256·t … 256·t + 255 of a level, fewer at the right edge."""

    def __init__(self, tiles: Tiles) -> None:
        self._tiles = tiles
        self._read: dict[tuple[int, int], Sequence[bytes]] = {}

    def _tile(self, level: int, number: int) -> Sequence[bytes]:
        found = self._read.get((level, number))
        if found is None:
            found = self._read[level, number] = self._tiles(level, number)
        return found

    def _perfect(self, lo: int, bits: int) -> bytes:
        """The root over the 2**bits lines from `lo`, which is a multiple of that."""
        level = bits // _BITS
        first = lo >> (level * _BITS)
        count = 1 << (bits - level * _BITS)
        held = self._tile(level, first // WIDTH)[first % WIDTH : first % WIDTH + count]
        if len(held) != count:
            raise LookupError(f"nodes {first} to {first + count - 1} of level {level} are missing")
        return fold(held)

    def _range(self, lo: int, hi: int) -> bytes:
        """The root over the lines lo … hi - 1 where `lo` begins a subtree of the whole tree."""
        size = hi - lo
        if size == 1 << (size.bit_length() - 1):
            return self._perfect(lo, size.bit_length() - 1)
        middle = lo + _split(size)
        return node(self._range(lo, middle), self._range(middle, hi))

    def root(self, size: int) -> bytes:
        """The root over the first `size` lines. Raises `LookupError` where nodes are missing."""
        return self._range(0, size) if size else EMPTY

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """The proof that line `index` (from 0) is among the first `size` (RFC 6962, 2.1.1), leaf to root."""
        proof: list[bytes] = []
        lo, hi = 0, size
        while hi - lo > 1:
            middle = lo + _split(hi - lo)
            if index < middle:
                proof.append(self._range(middle, hi))
                hi = middle
            else:
                proof.append(self._range(lo, middle))
                lo = middle
        return proof[::-1]

    def consistency(self, old: int, size: int) -> list[bytes]:
        """The proof that the first `old` lines are still the beginning of the first `size` (RFC 6962, 2.1.2)."""
        proof: list[bytes] = []
        lo, hi, whole = 0, size, True
        while old != hi:
            middle = lo + _split(hi - lo)
            if old <= middle:
                proof.append(self._range(middle, hi))
                hi = middle
            else:
                proof.append(self._range(lo, middle))
                lo, whole = middle, False
        if not whole:
            proof.append(self._range(lo, hi))
        return proof[::-1]


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def root_of_inclusion(leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes | None:
    """The root that an inclusion proof leads to; None where it has not the form of one (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return None
    at, last, root = index, size - 1, leaf_hash
    for step in proof:
        if last == 0:
            return None
        if at % 2 or at == last:
            root = node(step, root)
            while at % 2 == 0 and at:
                at, last = at >> 1, last >> 1
        else:
            root = node(root, step)
        at, last = at >> 1, last >> 1
    return root if last == 0 else None


def is_consistent(old: int, size: int, old_root: bytes, root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether a consistency proof holds between two sizes, 0 < old <= size (RFC 9162, 2.1.4.2)."""
    if old == size:
        return not proof and old_root == root
    if not 0 < old < size or not proof:
        return False
    steps = list(proof) if old & (old - 1) else [old_root, *proof]
    at, last = old - 1, size - 1
    while at % 2:
        at, last = at >> 1, last >> 1
    before = after = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if at % 2 or at == last:
            before, after = node(step, before), node(step, after)
            while at % 2 == 0 and at:
                at, last = at >> 1, last >> 1
        else:
            after = node(after, step)
        at, last = at >> 1, last >> 1
    return last == 0 and before == old_root and after == root
