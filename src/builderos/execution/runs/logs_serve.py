"""The logs of steps as people and programs read them: by offset, by line, from the end, or as they grow."""

import asyncio
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, cast

import sqlalchemy as sa
from pydantic import Field

from builderos.core.context import Context
from builderos.core.operations import Download, Live
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.schema import In, Line, Name, Out
from builderos.core.unit import Unit, as_system
from builderos.trust.audit import service as audit

from .events_follow import Followers
from .logs_find import Attempt, attempt_of, ensure_here, ref_of, state_of
from .logs_follow import PIECE, Place, RunFollower, Tails, frames
from .logs_read import Log, Piece, end, shown, whole_part
from .logs_search import search
from .model import steps
from .rows import OVER, Row, find_run, find_step
from .seen import seen_run, seen_step

MOST: Final = 64 * 1024
_PAGE: Final = 200
_COPY: Final = 256 * 1024
_ABSENT: Final = (
    "There is no log of this attempt on this server: nothing was printed yet, or the step runs on another machine. "
    "There it can be followed; here it can be read once the attempt has ended."
)


class StepLogIn(In):
    """Which part of which log. At most one of offset, line and tail; without any: from the beginning."""

    id: Line
    attempt: Annotated[int | None, Field(ge=1, description="Which attempt; the last one when left out.")] = (
        None
    )
    offset: Annotated[int | None, Field(ge=0, le=2**53, description="From this byte on.")] = None
    line: Annotated[int | None, Field(ge=1, le=2**53, description="From the start of this line on.")] = None
    tail: Annotated[int | None, Field(ge=0, le=5000, description="The last lines.")] = None
    limit: Annotated[int, Field(ge=1, le=MOST, description="Bytes of the log in one reply.")] = PIECE
    follow: Annotated[bool, Field(description="Go on while it grows, as Server-Sent Events.")] = False
    raw: Annotated[bool, Field(description="The bytes as they were printed, to the end, as a download.")] = (
        False
    )
    colours: Annotated[
        bool, Field(description="Leave commands that set colours in the text, and no others.")
    ] = False
    find: Annotated[
        Name | None,
        Field(description="Look for this text, whatever its case, from there on; `found` has the lines."),
    ] = None
    last_event_id: Annotated[Line | None, Field(description="Go on behind this event.")] = None


class StepLog(Out):
    """A part of a log. `text` is safe to print: colours are taken out, other commands to terminals are made visible."""

    run_id: str
    step_id: str
    name: str
    attempt: int
    text: str
    offset: Annotated[int, Field(description="The byte at which `text` begins.")]
    next_offset: Annotated[int, Field(description="Where the following call begins.")]
    line: Annotated[int, Field(description="Number of the line in which `text` begins, from 1.")]
    size: Annotated[int, Field(description="Bytes there are by now.")]
    ended: Annotated[bool, Field(description="Nothing will be added any more.")]
    dropped: Annotated[int, Field(description="Bytes beyond the limit, which were not kept.")]
    note: Annotated[str, Field(description="Why there is nothing, where there is nothing.")]
    found: Annotated[
        list[int] | None,
        Field(
            description="With `find`: the lines it stands in up to `next_offset`, at most 1,000; `text` is empty."
        ),
    ] = None


class RunLogIn(In):
    """Which part of the logs of a run."""

    id: Line
    tail: Annotated[int | None, Field(ge=1, le=1000, description="Of each step the last lines.")] = None
    limit: Annotated[int, Field(ge=1, le=MOST, description="Bytes of logs in one reply.")] = PIECE
    follow: Annotated[bool, Field(description="Go on while they grow, as Server-Sent Events.")] = False
    cursor: str | None = None
    last_event_id: Annotated[str | None, Field(max_length=8000, description="Go on behind this event.")] = (
        None
    )


class StepText(Out):
    """A part of the log of one step's last attempt."""

    step_id: str
    name: str
    attempt: int
    text: str
    offset: int
    next_offset: int
    size: int
    ended: bool


class RunLog(Out):
    """Logs of a run, step by step in the order of its definition."""

    run_id: str
    items: list[StepText]
    next_cursor: str | None


def step_log(unit: Unit, body: StepLogIn) -> StepLog | Download | Live:
    """A part of a step's log. Raises `not_found`, `validation_failed`."""
    places = sum(x is not None for x in (body.offset, body.line, body.tail))
    forms = sum((body.raw, body.follow, body.find is not None))
    if places > 1 or forms > 1 or (body.find is not None and body.tail is not None):
        raise Problem(
            "validation_failed", "these do not go together",
            hint="Say one of offset, line and tail; and one of raw, follow and find, the last without tail.",
        )  # fmt: skip
    run, step = seen_step(unit, body.id)
    found = attempt_of(unit, run, step, body.attempt)
    here = ensure_here(unit, found)
    audit.access.note(
        unit, "run.log", run.id, repo=run.repo_name or None, branch=run.branch or None, paths=[found.ref]
    )
    if body.follow:
        return _followed(unit, found, body)
    closed = end(found.path)
    ended = found.ended or closed is not None
    with Log.at(found.path) as log:
        piece = _piece(log, body, 0 if body.find else MOST if body.raw else body.limit)
        said = (
            _text(piece, ended=ended, colours=body.colours)
            if body.find is None
            else _found(log, body.find, piece.offset, ended=ended)
        )
    if body.raw:
        return Download(_bytes(found.path, piece.offset), "application/octet-stream", Path(found.ref).name)
    dropped = closed.dropped if closed is not None else 0
    return StepLog(**_names(found), **said, line=piece.line, dropped=dropped, note="" if here else _ABSENT)


def _piece(log: Log, body: StepLogIn, limit: int) -> Piece:
    if body.tail is not None:
        return log.tail(body.tail, limit)
    if body.line is not None:
        return log.from_line(body.line, limit)
    return log.piece(body.offset or 0, limit)


def _text(piece: Piece, *, ended: bool, colours: bool = False) -> dict[str, Any]:
    more = piece.next_offset < piece.size or not ended
    data = whole_part(piece.data, more=more)
    upto = piece.offset + len(data)
    return {
        "text": shown(data, colours=colours), "offset": piece.offset, "next_offset": upto, "size": piece.size,
        "ended": ended and upto >= piece.size,
    }  # fmt: skip


def _found(log: Log, needle: str, offset: int, *, ended: bool) -> dict[str, Any]:
    hits = search(log, needle, offset, ended=ended)
    size = log.size
    return {
        "text": "", "offset": offset, "next_offset": hits.next_offset, "size": size,
        "ended": ended and hits.next_offset >= size, "found": hits.lines,
    }  # fmt: skip


def _names(found: Attempt) -> dict[str, Any]:
    return {"run_id": found.run_id, "step_id": found.step_id, "name": found.name, "attempt": found.attempt}


def _bytes(path: Path, offset: int) -> Iterator[bytes]:
    with Log.at(path) as log:
        while data := log.piece(offset, _COPY).data:
            offset += len(data)
            yield data


def _followed(unit: Unit, found: Attempt, body: StepLogIn) -> Live:
    """The way there is made now, in the unit: what comes later holds none."""
    with Log.at(found.path) as log:
        start = _piece(log, body, MOST).offset
    if body.last_event_id is not None:
        start = _number(body.last_event_id)
    over = functools.partial(_is_over, unit.context, unit.org_id, found)
    return Live(functools.partial(frames, unit.get(Tails), found.path, start, _names(found), over))


async def _is_over(context: Context, org_id: str, found: Attempt) -> bool:
    def look(unit: Unit) -> bool:
        step = find_step(unit, found.step_id)
        return attempt_of(unit, find_run(unit, step.run_id), step, found.attempt).ended

    return await asyncio.to_thread(as_system, context, org_id, look, read_only=True)


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 16:
        raise Problem(
            "validation_failed", "Last-Event-ID is not one of this reply", hint="Leave it out to begin anew."
        )
    return int(text)


def run_log(unit: Unit, body: RunLogIn) -> RunLog | Live:
    """Logs of all steps of a run. Raises `not_found`, `validation_failed`."""
    run = seen_run(unit, body.id)
    audit.access.note(unit, "run.log", run.id, repo=run.repo_name or None, branch=run.branch or None)
    if body.follow:
        return _run_followed(unit, run, body)
    key = list_key("run logs", run=run.id, tail=body.tail)
    after = decode_cursor(key, body.cursor, 3) or [-1, 0, 0]
    position, attempt, offset = cast("list[int]", after)
    items: list[StepText] = []
    budget = body.limit
    rows = _with_logs(unit, run.id, position)
    taken = 0
    for step in rows[:_PAGE]:
        taken += 1
        resumed = step.position == position and step.attempt == attempt
        found = attempt_of(unit, run, step)
        ensure_here(unit, found)
        with Log.at(found.path) as log:
            piece = (
                log.tail(body.tail, budget) if body.tail is not None else log.piece(offset * resumed, budget)
            )
        closed = found.ended or end(found.path) is not None
        text = _text(piece, ended=closed)
        if piece.size or not closed:
            items.append(StepText(step_id=step.id, name=step.name, attempt=step.attempt, **text))
        budget -= len(piece.data)
        upto = cast("int", text["next_offset"])
        if upto < piece.size and body.tail is None:
            return RunLog(
                run_id=run.id,
                items=items,
                next_cursor=encode_cursor(key, [step.position, step.attempt, upto]),
            )
        if budget <= 0:
            break
    more = len(rows) > taken
    last = encode_cursor(key, [rows[taken].position, -1, 0]) if more else None
    return RunLog(run_id=run.id, items=items, next_cursor=last)


def _with_logs(unit: Unit, run_id: str, position: int) -> list[Row]:
    """Steps from a position on that have begun, one more than a page has."""
    wanted = sa.select(steps).where(
        steps.c.run_id == run_id, steps.c.position >= position, steps.c.logs_ref.is_not(None)
    )
    return list(unit.execute(wanted.order_by(steps.c.position).limit(_PAGE + 1)))


def _run_followed(unit: Unit, run: Row, body: RunLogIn) -> Live:
    try:
        place = Place.of(body.last_event_id) if body.last_event_id is not None else Place()
    except ValueError:
        raise Problem(
            "validation_failed", "Last-Event-ID is not one of this reply", hint="Leave it out to begin anew."
        ) from None
    state = state_of(unit, run)
    follower = functools.partial(
        RunFollower, unit.get(Tails), unit.get(Followers), unit.org_id, run.id, ended=run.status in OVER, place=place,
        path_of=lambda name, attempt: state / ref_of(run.id, name, attempt),
    )  # fmt: skip
    return Live(lambda: follower().frames())
