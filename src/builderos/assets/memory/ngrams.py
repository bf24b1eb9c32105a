"""Vectors without a model: which words and pieces of words a text holds, hashed into 512 numbers.

Near texts share pieces, whatever their endings and spelling. The hashed counts are turned by a Walsh-Hadamard
transform, which keeps all angles and spreads each piece over every number: none of them is large, so that little is
lost by half a precision, nor zero as most of the counts are.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from operator import add, sub
from typing import Final
from zlib import crc32

NAME: Final = "ngrams@1"
DIM: Final = 512
FLOOR: Final = 0.15
_WORD: Final = re.compile(r"[^\W_]+")
_BITS: Final = 9  # 2 ** 9 numbers
_WHOLE: Final = 2.0  # a whole word counts as much as two of its pieces
# They say nothing of what a text is about, and every text has them.
_EMPTY: Final = frozenset(
    "a an and are as at be but by for from has have if in into is it its no not of on or so that the their then there "
    "these they this to was were what when which will with you your".split()
)


def vector(text: str) -> list[float]:
    """512 numbers of length 1; zeros for a text without letters or digits."""
    sums = [0.0] * DIM
    for word, times in Counter(_WORD.findall(text.casefold())).items():
        if word in _EMPTY:
            continue
        weight = math.sqrt(times)
        for at, sign in _words[word]:
            sums[at] += sign * weight
    length = math.sqrt(math.fsum(map(float.__mul__, sums, sums)))
    if not length:
        return sums
    turned = _turned(sums)
    scale = 1 / (length * math.sqrt(DIM))
    return [value * scale for value in turned]


def vectors(texts: Sequence[str]) -> list[list[float]]:
    """A vector of each text."""
    return [vector(text) for text in texts]


def _pieces(word: str) -> list[tuple[int, float]]:
    framed = f" {word} "
    found = [_place(framed[at : at + 3], 1.0) for at in range(len(framed) - 2)]
    return [*found, _place(framed, _WHOLE)]


def _place(piece: str, weight: float) -> tuple[int, float]:
    number = crc32(piece.encode("utf-8", "surrogatepass"))
    return number % DIM, weight if number & 0x80000000 else -weight


class _Words(dict[str, tuple[tuple[int, float], ...]]):
    """Pieces of words seen before; words repeat."""

    def __missing__(self, word: str) -> tuple[tuple[int, float], ...]:
        found = tuple(_pieces(word[:64]))
        if len(self) >= 50_000:
            self.clear()
        self[word] = found
        return found


_words: Final = _Words()


def _turned(values: list[float]) -> list[float]:
    """The Walsh-Hadamard transform, without its scale."""
    for _ in range(_BITS):
        even, odd = values[::2], values[1::2]
        values = [*map(add, even, odd), *map(sub, even, odd)]
    return values
