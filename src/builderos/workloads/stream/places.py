"""How far a client has come: the number of a ledger's line, and what was seen of the events of all runs."""

import itertools
import re
from dataclasses import dataclass
from typing import Final

from builderos.core.problems import Problem

LONGEST: Final = 8000
_TEXT: Final = re.compile(r"([0-9]{1,18})\.([0-9]{1,18}):([0-9]{1,18}):((?:[0-9]{1,18}(?:,[0-9]{1,18})*)?)")


@dataclass(frozen=True)
class Place:
    """`seq`: lines of the ledger up to it; `seen`: a snapshot of PostgreSQL (`oldest open:next:open ones`)."""

    seq: int
    seen: str

    def __str__(self) -> str:
        return f"{self.seq}.{self.seen}"

    @property
    def next(self) -> int:
        """The transaction that had not begun by then."""
        return int(self.seen.split(":")[1])

    def within(self, other: "Place") -> bool:
        """Whether it can lie before the other: a place that the server has never been at (it was restored) does not."""
        return self.seq <= other.seq and self.next <= other.next


def read(text: str) -> Place:
    """A place as a client gives it back. Raises `validation_failed`."""
    found = _TEXT.fullmatch(text)
    if found is None or not _is_snapshot(*found.groups()[1:]):
        raise Problem(
            "validation_failed", "Last-Event-ID is not one of this reply", hint="Leave it out to begin anew."
        )
    return Place(int(found[1]), text.partition(".")[2])


def _is_snapshot(first: str, after: str, between: str) -> bool:
    """Whether PostgreSQL takes it for one: in order, none twice."""
    numbers = [int(n) for n in between.split(",")] if between else []
    bounded = [int(first), *numbers, int(after)]
    rising = all(a < b for a, b in itertools.pairwise(numbers))
    return (
        int(first) > 0 and bounded == sorted(bounded) and rising and (not numbers or numbers[-1] < int(after))
    )
