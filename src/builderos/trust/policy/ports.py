"""What the policy needs of rooms above it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from builderos.core.unit import Unit


@dataclass(frozen=True)
class Readings:
    """Who records what somebody was shown: `note(unit, action, object, paths)`."""

    note: Callable[[Unit, str, str, Sequence[str]], None]
