"""How many lines of which type each actor left: what usage is counted from."""

from dataclasses import dataclass
from datetime import date

import sqlalchemy as sa

from builderos.core.unit import Unit

from .model import ledger


@dataclass(frozen=True)
class Tally:
    """Lines of one type by one actor on one day (UTC)."""

    day: date
    actor: str
    type: str
    lines: int


def tally(unit: Unit, *, after: int, upto: int) -> list[Tally]:
    """Counts of the lines behind `after`, up to `upto`, in one statement."""
    c = ledger.c
    day = sa.cast(sa.func.timezone("UTC", c.at), sa.Date)
    wanted = (
        sa.select(day, c.actor, c.type, sa.func.count())
        .where(c.seq > after, c.seq <= upto)
        .group_by(day, c.actor, c.type)
    )
    return [Tally(*row) for row in unit.execute(wanted)]
