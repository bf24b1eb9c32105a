"""What this room needs from others: the address of a member, which only the room of people knows."""

from collections.abc import Callable
from dataclasses import dataclass

from builderos.core.unit import Unit


@dataclass(frozen=True)
class Directory:
    """Where people are reached; `address_of` gives a member's mail address, None where there is none."""

    address_of: Callable[[Unit, str], str | None]
