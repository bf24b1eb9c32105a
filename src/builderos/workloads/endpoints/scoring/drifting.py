"""How far the rows of calls have moved from the ones that the model was made for, column by column.

The population stability index: Σ (p - q) · ln(p / q) over tenths of what came first, or of the values that
`baseline.json` beside the model names by column.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# What callers bring has no types.

import importlib
import json
import math
from collections import deque
from pathlib import Path
from typing import Any, Final

FIRST: Final = 500
"""Rows that make a baseline where the model brings none."""
LATELY: Final = 2000
LEAST: Final = 100
_PER_CALL: Final = 50
_MOST: Final = 50
_NOTHING: Final = 1e-4
_SHARES: Final = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


class Drift:
    """The rows that came first, and those that came lately."""

    def __init__(self, columns: list[str], folder: Path) -> None:
        self._numpy: Any = importlib.import_module("numpy")
        self._columns = columns
        self._first: list[Any] = []
        self._lately: deque[Any] = deque(maxlen=LATELY)
        self._given = _given(folder)

    def see(self, rows: Any) -> None:
        """The rows of one call, as the model gets them: some of them, where they are many."""
        found = rows.to_numpy() if hasattr(rows, "to_numpy") else rows
        if getattr(found, "ndim", 0) != 2:
            return
        for row in found[:_PER_CALL]:
            if not self._given and len(self._first) < FIRST:
                self._first.append(row)
            else:
                self._lately.append(row)

    def told(self) -> list[dict[str, Any]]:
        """Column and index of each column of numbers, far ones first; none before enough rows have come."""
        if len(self._lately) < LEAST or (not self._given and len(self._first) < FIRST):
            return []
        found: list[dict[str, Any]] = []
        for at in range(min(len(self._lately[0]), _MOST)):
            name = self._columns[at] if at < len(self._columns) else str(at)
            before = self._given.get(name) if self._given else [row[at] for row in self._first]
            psi = self._index(before or [], [row[at] for row in self._lately if at < len(row)])
            if psi is not None:
                found.append({"column": name[:100], "psi": round(psi, 4)})
        return sorted(found, key=lambda one: -one["psi"])

    def _index(self, before: list[Any], now: list[Any]) -> float | None:
        """None where these are no numbers."""
        numpy = self._numpy
        try:
            old, new = numpy.asarray(before, "f8"), numpy.asarray(now, "f8")
        except (TypeError, ValueError):
            return None
        old, new = old[numpy.isfinite(old)], new[numpy.isfinite(new)]
        if not len(old) or not len(new):
            return None
        edges = numpy.unique(numpy.quantile(old, _SHARES))
        total = 0.0
        for was, is_ in zip(_parts(numpy, edges, old), _parts(numpy, edges, new), strict=True):
            total += (is_ - was) * math.log(is_ / was)
        return total


def _parts(numpy: Any, edges: Any, values: Any) -> list[float]:
    counts = numpy.bincount(numpy.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    return [max(float(count) / len(values), _NOTHING) for count in counts]


def _given(folder: Path) -> dict[str, list[float]]:
    path = folder / "baseline.json"
    if not path.is_file():
        return {}
    found = json.loads(path.read_text())
    return {str(name): list(values) for name, values in found.items()} if isinstance(found, dict) else {}
