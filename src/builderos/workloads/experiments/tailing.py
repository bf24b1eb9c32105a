"""Reading the file that a run's command writes, while it grows: a JSON object a line, by whoever, of whatever size."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from builderos.core.problems import Problem
from builderos.execution.compute import service as compute

from .limits import MAX_INT, MAX_METRICS, MAX_PARAM, check_key, check_tags, check_texts
from .logging import Point

CHUNK: Final = 1024 * 1024
MAX_LINE: Final = 64 * 1024
MAX_FILE: Final = 4 * 1024**3
_WORDS: Final = 100
_IGNORED: Final = frozenset({"start", "end"})  # how a run ends its command says


@dataclass(slots=True)
class Batch:
    """Some of what was written: `metrics` as (key, value, at or None, step)."""

    metrics: list[tuple[str, float, int | None, int]] = field(
        default_factory=list[tuple[str, float, int | None, int]]
    )
    params: dict[str, str] = field(default_factory=dict[str, str])
    tags: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def full(self) -> bool:
        """Whether no more fits into what is logged at once."""
        return len(self.metrics) >= MAX_METRICS or len(self.params) >= _WORDS or len(self.tags) >= _WORDS

    @property
    def some(self) -> bool:
        """Whether there is anything in it."""
        return bool(self.metrics or self.params or self.tags)

    def points(self, now: int) -> list[Point]:
        """The metrics; one without a time has that of its being read."""
        return [Point(key, value, now if at is None else at, step) for key, value, at, step in self.metrics]


class Tail:
    """Where reading a file stands. `unread`: lines that could not be logged."""

    def __init__(self, folder: Path, path: str) -> None:
        self._folder = folder
        self._path = path
        self._at = 0
        self._next = 0
        self._skipping = False
        self._refused = 0
        self.unread = 0

    def next(self) -> Batch | None:
        """What is new, whole lines of it, or None. Say `taken` when it was logged: else it comes again."""
        while True:
            batch, data = Batch(), self._read()
            self._next, self._refused = self._at, 0
            skipping = self._skipping
            for line in data.splitlines(keepends=True):
                if not line.endswith(b"\n") and len(line) < MAX_LINE:
                    break  # half of a line
                self._next += len(line)
                if skipping or not line.endswith(b"\n") or len(line) > MAX_LINE:
                    self._refused += not skipping
                    skipping = not line.endswith(b"\n")
                elif line.strip() and not _take(batch, line):
                    self._refused += 1
                if batch.full:
                    break
            if batch.some:
                self._still = skipping
                return batch
            if self._next == self._at:
                return None
            self._still = skipping
            self.taken()

    def taken(self) -> None:
        """Go on behind what `next` gave."""
        self._at, self._skipping = self._next, self._still
        self.unread += self._refused
        self._refused = 0

    def _read(self) -> bytes:
        if self._at >= MAX_FILE:
            return b""
        try:
            with compute.Beneath(self._folder) as beneath, beneath.open(self._path) as file:
                file.seek(self._at)
                return file.read(CHUNK)
        except OSError:
            return b""  # not there yet, or no ordinary file


def _take(batch: Batch, line: bytes) -> bool:
    """Whether a line could be read and may be logged; then it is in the batch."""
    try:
        found: Any = json.loads(line)
        if not isinstance(found, dict):
            return False
        said = cast("Mapping[str, Any]", found)
        what = said.get("what")
        if what in _IGNORED:
            return True
        key = said["key"]
        if not isinstance(key, str):
            return False
        if what == "metric":
            check_key(key, "metric")
            batch.metrics.append(
                (key, _number(said["value"]), _whole(said.get("at_ms")), _whole(said.get("step")) or 0)
            )
        elif what == "param":
            check_texts({key: (text := _text(said["value"]))}, "param", MAX_PARAM)
            batch.params.setdefault(key, text)
        elif what == "tag":
            check_tags({key: (text := _text(said["value"]))})
            batch.tags[key] = text
        else:
            return False
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, Problem):
        return False
    return True


def _number(value: Any) -> float:
    if isinstance(value, str):
        if value not in ("NaN", "Infinity", "-Infinity"):
            raise ValueError(value)
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(value)
    return float(value)


def _whole(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(value)
    if abs(value) > MAX_INT:
        raise ValueError(value)
    return int(value)


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    text.encode()  # a lone surrogate cannot be stored
    return text
