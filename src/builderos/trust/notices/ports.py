"""What this room needs from others: the address of a member, which only the room of people knows, and what runs ask."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from builderos.core.unit import Unit


@dataclass(frozen=True)
class Directory:
    """Where people are reached; `address_of` gives a member's mail address, None where there is none."""

    address_of: Callable[[Unit, str], str | None]


@dataclass(frozen=True)
class Asked:
    """A question of a run. The part of its id behind the prefix sorts by the time at which it was asked."""

    id: str
    run_id: str
    message: str
    at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class Questions:
    """What runs ask people. `for_reader(unit, before=…, limit=…, without=…, only=…)`: the open questions that the
    unit's actor may answer, newest first; `before` is the part of an id that sorts. `find(unit, id)`: an open one,
    whoever may answer; None where it is answered or over. `answerers(unit, id)`: members who are people and may answer.
    """

    for_reader: Callable[..., Sequence[Asked]]
    find: Callable[[Unit, str], Asked | None]
    answerers: Callable[[Unit, str], list[str]]
