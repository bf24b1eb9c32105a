"""What happens in a session, as it comes: its events, what it uses, what its server prints."""

import asyncio
import functools
import json
from collections.abc import AsyncIterator
from typing import Any, Final

from builderos.core.context import Context
from builderos.core.operations import Live
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.unit import Unit, as_system
from builderos.execution.compute.schema import Meter
from builderos.execution.runs import service as runs

from . import rows
from .keeping import Keeper
from .reading import piece, resources_of, seen
from .schema import SessionEvent, SessionEvents, SessionEventsIn, SessionLogs, SessionLogsIn

_METER_S: Final = 2.0
_DIGITS: Final = 15
OVER: Final = frozenset({"session.stopped", "session.failed", "session.timed_out"})
USED: Final = "session.resources"


def events(unit: Unit, body: SessionEventsIn) -> SessionEvents | Live:
    """What happened in a session: a page, or a stream that ends with it. Raises `not_found`, `validation_failed`."""
    row = seen(unit, body.id)
    if body.stream:
        after = _number(body.last_event_id)
        told = functools.partial(
            frames, unit.get(runs.Followers), unit.get(Keeper), unit.org_id, row.id, after,
            over=row.ended_at is not None,
        )  # fmt: skip
        return Live(told)
    key = list_key("session events", id=row.id)
    last = decode_cursor(key, body.cursor)
    found = runs.events.read(unit, row.id, after=int(last[0]) if last else 0, limit=body.limit + 1)
    page = found[: body.limit]
    return SessionEvents(
        items=[SessionEvent(**_said(event, row.id)) for event in page],
        next_cursor=encode_cursor(key, [page[-1].seq]) if len(found) > len(page) else None,
    )


def logs(unit: Unit, body: SessionLogsIn) -> SessionLogs | Live:
    """What the server of a session printed: a piece, or as it comes. Raises `not_found`, `validation_failed`."""
    if not body.follow:
        return piece(unit, body)
    row = seen(unit, body.id)
    start = body.offset if body.last_event_id is None else _number(body.last_event_id)
    path = rows.state_of(unit, row) / row.logs_ref
    over = functools.partial(_is_over, unit.context, unit.org_id, row.id)
    return Live(functools.partial(runs.log_frames, unit.get(runs.Tails), path, start, {"id": row.id}, over))


async def frames(
    followers: runs.Followers, keeper: Keeper, org_id: str, id_: str, after: int, *, over: bool
) -> AsyncIterator[bytes]:
    """Events, each with its number; between them what the session uses, without one: that is true only now."""
    following = followers.follow(org_id, id_, after, ended=over)
    coming: asyncio.Future[list[Any] | None] | None = None
    shown: Meter | None = None
    try:
        while True:
            if (meter := keeper.meter(id_)) is not None and meter is not shown:
                shown = meter
                yield _frame(USED, {"session_id": id_, **resources_of(meter).model_dump()})
            coming = coming or asyncio.ensure_future(anext(following, None))
            done, _ = await asyncio.wait({coming}, timeout=_METER_S)
            if not done:
                continue
            found, coming = coming.result(), None
            if found is None:
                return
            yield b"".join(_frame(event.type, _said(event, id_), event.seq) for event in found)
            if not over and found[-1].type in OVER:
                return
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.wait({coming})
        await following.aclose()


def _said(event: Any, id_: str) -> dict[str, Any]:
    told: dict[str, Any] = event.as_json(id_)
    return {"session_id": told.pop("run_id"), **told}


def _frame(type_: str, body: dict[str, Any], number: int | None = None) -> bytes:
    data = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    head = "" if number is None else f"id: {number}\n"
    return f"{head}event: {type_}\ndata: {data}\n\n".encode()


async def _is_over(context: Context, org_id: str, id_: str) -> bool:
    def look(unit: Unit) -> bool:
        return rows.find(unit, id_).ended_at is not None

    return await asyncio.to_thread(as_system, context, org_id, look, read_only=True)


def _number(text: str | None) -> int:
    if text is None:
        return 0
    if not text.isdecimal() or len(text) > _DIGITS:
        raise Problem("validation_failed", "Last-Event-ID is not one of this reply", hint="Leave it out.")
    return int(text)
