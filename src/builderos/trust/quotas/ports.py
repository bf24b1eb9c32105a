"""What this room needs from others: projects, which are repositories, by name."""

from collections.abc import Callable
from dataclasses import dataclass

from builderos.core.unit import Unit


@dataclass(frozen=True)
class Projects:
    """`find(unit, name)`: id and name of a repository; raises `not_found`, `conflict` for a name of several.
    `names(unit)`: id → name of all of them.
    """

    find: Callable[[Unit, str], tuple[str, str]]
    names: Callable[[Unit], dict[str, str]]
