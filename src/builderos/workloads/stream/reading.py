"""Reads what happened between two places, once for all clients of an organisation."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from builderos.core.unit import Unit
from builderos.execution.runs import service as runs
from builderos.trust.ledger import service as ledger

from .places import Place
from .topics import Happened, View, of_line, of_run

MOST: Final = 1000
"""Whoever has missed more lines, or more events, looks at everything again."""
# Whose lines end replies: what somebody may see, or who somebody is, may be another thing from now on.
_RIGHTS: Final = (
    "credential.revoked", "credential.suspended", "session.ended", "member.changed", "member.removed", "member.left",
    "grant.", "policy.activated", "org.closing", "org.kept", "org.handed_over", "oauth_client.removed", "person.erased",
    "sandbox.archived", "sandbox.expired", "sandbox.deleted", "sandbox.unshared", "sandbox.token",
)  # fmt: skip


@dataclass(frozen=True)
class Batch:
    """What happened between two places; None: more than anybody is told one by one."""

    upto: Place
    items: list[Happened] | None
    rights: frozenset[str] = frozenset()  # types of lines that may have changed who may see what
    _made: dict[View, bytes] = field(default_factory=dict[View, bytes], compare=False)

    def frame(self, view: View) -> bytes:
        """What a client gets of it: one message, or nothing."""
        if view not in self._made:
            self._made[view] = self._frame(view)
        return self._made[view]

    def _frame(self, view: View) -> bytes:
        if self.items is None:
            return gap(self.upto, view)
        items = [item for happened in self.items for item in happened.seen_by(view)]
        return message(self.upto, "events", {"items": items}) if items else b""


def message(place: Place, type_: str, data: dict[str, Any]) -> bytes:
    """One message as Server-Sent Events have it."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"id: {place}\nevent: {type_}\ndata: {text}\n\n".encode()


def gap(place: Place, view: View) -> bytes:
    """The message that everything is to be looked at again."""
    return message(place, "refetch", {"topics": [one.word for one in view.wanted], "reason": "gap"})


def here(unit: Unit) -> Place:
    """The place that the unit is at: nothing that it can see lies behind it."""
    seq, _ = ledger.stored_head(unit)
    return Place(seq, runs.events.snapshot(unit))


def between(unit: Unit, after: Place, upto: Place) -> Batch:
    """What happened behind a place, up to another that the unit has seen."""
    if not after.within(upto) or upto.seq - after.seq > MOST:
        return Batch(upto, None, _ANY if upto.seq != after.seq else frozenset())
    lines = ledger.scan(unit, after=after.seq, upto=upto.seq) if upto.seq > after.seq else ()
    bodies = [(line.seq, json.loads(line.body)) for line in lines]
    rights = frozenset(str(body["type"]) for _, body in bodies if str(body["type"]).startswith(_RIGHTS))
    told = [of_line(unit.org_id, seq, body) for seq, body in bodies]
    news: Sequence[runs.events.News] = ()
    if after.seen != upto.seen:
        news = runs.events.between(unit, after.seen, upto.seen, MOST + 1)
    if len(news) > MOST:
        return Batch(upto, None, rights)
    return Batch(upto, [*filter(None, told), *map(of_run, news)], rights)


_ANY: Final = frozenset({"policy.activated"})


@dataclass(frozen=True)
class Read:
    """One look: where it came to, what the clients before get, and what those get that come back."""

    upto: Place
    news: Batch | None
    missed: dict[Place, Batch]


def look(unit: Unit, after: Place | None, back: frozenset[Place]) -> Read:
    """What happened behind `after` and behind the places of those who come back."""
    upto = here(unit)
    places = back if after is None else back | {after}
    read = {place: between(unit, place, upto) for place in places}
    return Read(upto, None if after is None else read[after], {place: read[place] for place in back})
