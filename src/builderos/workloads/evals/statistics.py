"""What can be said about chances from few tries: the interval of a share, and whether two shares differ."""

import math
from collections.abc import Sequence
from typing import Final

_Z: Final = 1.959963984540054  # 95 % of a normal distribution lie so many deviations around its middle


def interval(passed: int, tried: int) -> tuple[float, float]:
    """Where the true share lies with 95 % (Wilson 1927, doi:10.1080/01621459.1927.10502953)."""
    if tried == 0:
        return 0.0, 1.0
    share, z2 = passed / tried, _Z * _Z
    middle = (share + z2 / (2 * tried)) / (1 + z2 / tried)
    half = _Z / (1 + z2 / tried) * math.sqrt(share * (1 - share) / tried + z2 / (4 * tried * tried))
    low = 0.0 if passed == 0 else max(0.0, middle - half)
    return low, 1.0 if passed == tried else min(1.0, middle + half)


def worse(before: tuple[int, int], after: tuple[int, int]) -> float:
    """How likely so few passes are by chance if nothing changed: Fisher's exact test, one-sided.

    Both are (passed, tried).
    """
    (a, n), (b, m) = before, after
    passed, tried = a + b, n + m
    ways = math.comb(tried, m)
    return sum(
        math.comb(passed, k) * math.comb(tried - passed, m - k) for k in range(max(0, m - tried + passed), b + 1)
    ) / ways  # fmt: skip


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which this share of them lies; 0 where there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
