"""When a trial of a search is given up: it is compared with the others by what they had logged at the same step."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import sqlalchemy as sa

from builderos.core.unit import Unit

from .model import metrics, runs
from .submit_schema import Goal, Stop

Point = tuple[int, float]
_MOST: Final = 200_000


class Judge:
    """Judges one trial of a search."""

    def __init__(self, run_id: str, sweep_run: str, sweep: Mapping[str, Any]) -> None:
        self._id = run_id
        self._sweep_run = sweep_run
        self._goal = Goal(**sweep["goal"])
        self._stop = Stop(**sweep["stop"]) if sweep.get("stop") else None

    def verdict(self, unit: Unit) -> Literal["", "median", "halving"]:
        """The rule by which it is given up now; empty: it goes on."""
        if self._stop is None:
            return ""
        series = self._series(unit)
        mine, others = series.pop(self._id, []), list(series.values())
        if not mine:
            return ""
        sign = 1.0 if self._goal.mode == "max" else -1.0
        if self._stop.rule == "median":
            return "median" if below_median(mine, others, self._stop, sign) else ""
        return "halving" if halved(mine, others, self._stop, sign) else ""

    def _series(self, unit: Unit) -> dict[str, list[Point]]:
        c, m = runs.c, metrics.c
        ids = sa.select(c.id).where(c.run_id == self._sweep_run, c.step.is_not(None))
        wanted = (
            sa.select(m.run_id, m.step, m.value)
            .where(m.run_id.in_(ids), m.key == self._goal.metric)
            .order_by(m.run_id, m.step, m.at)
            .limit(_MOST)
        )
        found: dict[str, list[Point]] = {}
        for row in unit.execute(wanted):
            if math.isfinite(row.value):
                found.setdefault(row.run_id, []).append((row.step, row.value))
        return found


def below_median(mine: Sequence[Point], others: Sequence[Sequence[Point]], rule: Stop, sign: float) -> bool:
    """The median stopping rule (Golovin et al., Vizier, 2017): its best value up to a step is worse than the median of
    the averages of the others up to that step. `sign`: 1 where more is better, else -1.
    """
    step = mine[-1][0]
    if step < rule.after:
        return False
    averages = [
        statistics.fmean(sign * value for at, value in series if at <= step)
        for series in others
        if series and series[-1][0] >= step and series[0][0] <= step
    ]
    if len(averages) < rule.least:
        return False
    return max(sign * value for _, value in mine) < statistics.median(averages)


def halved(mine: Sequence[Point], others: Sequence[Sequence[Point]], rule: Stop, sign: float) -> bool:
    """Asynchronous successive halving (Li et al., 2018): at each rung (`after`, `after * factor`, …) a trial goes on
    only among the best `1 / factor` of those that have come there, itself among them.
    """
    step, rung = mine[-1][0], rule.after
    while rung <= step:
        there = [value for series in others if (value := _best(series, rung, sign)) is not None]
        own = _best(mine, rung, sign)
        if own is not None and len(there) + 1 >= max(rule.least, rule.factor):
            room = max(1, (len(there) + 1) // rule.factor)
            if sum(value > own for value in there) >= room:
                return True
        rung *= rule.factor
    return False


def _best(series: Sequence[Point], rung: int, sign: float) -> float | None:
    """The best value up to a rung, of a trial that has come there."""
    if not series or series[-1][0] < rung:
        return None
    return max((sign * value for at, value in series if at <= rung), default=None)
