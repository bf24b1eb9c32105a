"""What the policy needs of rooms above it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from builderos.core.unit import Unit


@dataclass(frozen=True)
class Readings:
    """Who records what somebody was shown: `note(unit, action, object, paths)`."""

    note: Callable[[Unit, str, str, Sequence[str]], None]


@dataclass(frozen=True)
class Names:
    """What those are called whom ids stand for, as the unit's actor may know them: `of(unit, ids)`."""

    of: Callable[[Unit, Sequence[str]], dict[str, str]]
