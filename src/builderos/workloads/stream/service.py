"""What other rooms and doors may use of the stream."""

import functools

from builderos.core.operations import Live
from builderos.core.unit import Unit

from . import places, topics
from .hub import Client, Hub
from .reading import between, here
from .schema import Item, Page, StreamIn

__all__ = ["Hub", "follow"]


def follow(unit: Unit, body: StreamIn) -> Live | Page:
    """Everything that the caller may see of some topics, as it happens. Raises `validation_failed`, and what the policy
    says where the caller may see none of them.
    """
    where = body.last_event_id if body.stream else body.cursor
    last = places.read(where) if where else None
    view, refused = topics.view_of(unit, topics.read(body.topics))
    if not body.stream:
        return _page(unit, view, refused, last)
    client = Client(unit.actor, unit.call.secret, view, refused, last)
    return Live(functools.partial(unit.get(Hub).frames, client))


def _page(unit: Unit, view: topics.View, refused: list[str], last: places.Place | None) -> Page:
    upto = here(unit)
    batch = between(unit, last or upto, upto)
    items = [Item(**item) for happened in batch.items or () for item in happened.seen_by(view)]
    return Page(
        topics=[one.word for one in view.wanted], refused=refused, items=items, refetch=batch.items is None,
        next_cursor=str(upto),
    )  # fmt: skip
