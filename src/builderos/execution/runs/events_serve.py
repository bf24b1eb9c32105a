"""The events of a run as clients get them: from any number on, and as they come."""

import functools
from typing import Annotated, Any, Final

from pydantic import Field

from builderos.core.operations import Live
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.schema import In, Line, Out
from builderos.core.unit import Unit

from .events import read
from .events_follow import Followers, frames
from .rows import OVER
from .seen import seen_run

_DIGITS: Final = 18


class EventsIn(In):
    """Which events of which run."""

    id: Line
    stream: Annotated[
        bool, Field(description="Server-Sent Events until the run has ended; false: one page as JSON.")
    ] = True
    limit: Annotated[int, Field(ge=1, le=200, description="Events of one page.")] = 50
    cursor: Annotated[str | None, Field(description="Of a page: where the one before it ended.")] = None
    last_event_id: Annotated[Line | None, Field(description="Go on behind this event.")] = None


class RunEvent(Out):
    """Something that happened in a run; `seq` counts from 1 without gaps."""

    run_id: str
    seq: int
    at: str
    type: str
    payload: dict[str, Any]


class RunEvents(Out):
    """One page, oldest first."""

    items: list[RunEvent]
    next_cursor: str | None


def run_events(unit: Unit, body: EventsIn) -> RunEvents | Live:
    """What happened in a run: a page, or a stream that ends with the run. Raises `not_found`, `validation_failed`."""
    run = seen_run(unit, body.id)
    after = 0
    if body.last_event_id is not None:
        after = _number(body.last_event_id)
    if body.stream:
        followers = unit.get(Followers)
        return Live(
            functools.partial(frames, followers, unit.org_id, run.id, after, ended=run.status in OVER)
        )
    key = list_key("run events", run=run.id)
    found = decode_cursor(key, body.cursor)
    events = read(unit, run.id, after=int(found[0]) if found else after, limit=body.limit + 1)
    page = events[: body.limit]
    more = len(events) > len(page)
    return RunEvents(
        items=[RunEvent(**e.as_json(run.id)) for e in page],
        next_cursor=encode_cursor(key, [page[-1].seq]) if more else None,
    )


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > _DIGITS:
        raise Problem(
            "validation_failed",
            "Last-Event-ID is the number of an event",
            hint="Leave it out for all of them.",
        )
    return int(text)
