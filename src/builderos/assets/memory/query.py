"""Search, list and count what is known of a branch's files; every reply is bounded in bytes."""

import hashlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from builderos.assets.workspaces.service import Place, locate, remembered
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.secrets.service import redact

from . import tiers
from .ranking import Doc, search, terms_of
from .schema import MemoryItem, QueryIn, QueryOut, Stats

DESCRIPTION_CHARS: Final = 1500
SHORT_CHARS: Final = 200
CURSOR_PATH_CHARS: Final = (
    90  # in the worst spelling a cursor of so long a path is within its 1,000 characters
)
TOP: Final = 20
Hit = tuple[int, Doc]


def query(unit: Unit, body: QueryIn) -> QueryOut:
    """Read the memory of a branch: files that people and tools described, and those that pushes brought.

    Raises `validation_failed` (search without words, a foreign cursor) and as `locate`. A memory file that cannot be
    read is named in `warnings`; the others are answered from.
    """
    if body.tier is not None:
        return tiers.query(unit, body)
    place = locate(unit, body, "memory.read")
    terms = terms_of(body.query or "")
    if body.mode == "search" and not terms:
        raise Problem(
            "validation_failed", "search needs words", hint="Say what to look for in query.", field="query"
        )
    memory = remembered.remember(unit, place)
    warnings = [f"{i.path}:{i.line}: {i.message}"[:300] for i in memory.issues[:3]]
    docs = _filtered(memory.docs, body)
    room = unit.settings.memory_reply
    if body.mode == "stats":
        return _stats(place, docs, warnings, room)
    if body.mode == "list":
        return _page(place, body, [(0, doc) for doc in docs], warnings, room)
    return _page(place, body, search(docs, terms)[: body.k], warnings, room)


def _filtered(docs: Sequence[Doc], body: QueryIn) -> Sequence[Doc]:
    if body.tag is not None:
        tag = body.tag.casefold()
        docs = [doc for doc in docs if tag in doc.tags]
    if body.owner is not None:
        docs = [doc for doc in docs if doc.entry.get("owner") == body.owner]
    if body.file_type is not None:
        kind = body.file_type.removeprefix(".").casefold()
        docs = [doc for doc in docs if str(doc.entry.get("file_type", "")).casefold() == kind]
    return docs


def _page(place: Place, body: QueryIn, hits: list[Hit], warnings: list[str], size: int) -> QueryOut:
    key = list_key(
        "memory", branch=place.branch.id, mode=body.mode, query=body.query, tag=body.tag, owner=body.owner,
        file_type=body.file_type, k=body.k,
    )  # fmt: skip
    start = _start(hits, decode_cursor(key, body.cursor, 4))
    where = f"branch {place.branch.name} of {place.repo_name}"
    empty = QueryOut(
        items=[], next_cursor="x" * 1000, total=len(hits), truncated=False, stats=None, warnings=warnings,
        repo_name=place.repo_name, branch=place.branch.name, message=f"{len(hits)} of {len(hits)} files in {where}.",
    )  # fmt: skip
    items, truncated = _fitting(hits[start : start + body.limit], size - _bytes(empty), body.mode == "search")
    end = start + len(items)
    cursor = encode_cursor(key, _mark(hits[end - 1], end - 1)) if items and end < len(hits) else None
    message = f"{len(items)} of {len(hits)} files in {where}."
    return empty.model_copy(
        update={"items": items, "next_cursor": cursor, "truncated": truncated, "message": message}
    )  # fmt: skip


def _fitting(hits: Iterable[Hit], room: int, scored: bool) -> tuple[list[MemoryItem], bool]:
    """Items as long as they fit, at least one; whether the size ended the page or cut one of them."""
    items: list[MemoryItem] = []
    for score, doc in hits:
        item = _item(doc.entry, score if scored else None, DESCRIPTION_CHARS)
        size = _bytes(item) + 1
        if size > room and items:
            return items, True
        for chars in (SHORT_CHARS, 0):
            if size > room:
                item = _item(doc.entry, score if scored else None, chars)
                size = _bytes(item)
        items.append(item)
        room -= size
    return items, any(item.cut for item in items)


def _item(entry: remembered.Item, score: int | None, chars: int) -> MemoryItem:
    """One entry as it is answered. Members of the wrong kind (by hand) read as absent; credentials are taken out."""
    description = _text(entry, "description")
    tags = entry.get("tags")
    names = [t for t in tags if isinstance(t, str)] if isinstance(tags, list) else []  # pyright: ignore[reportUnknownVariableType]
    path, most, whole = str(entry["path"]), chars // 20, 1000 if chars else 200
    cut = len(description or "") > chars or len(names) > most or len(path) > whole
    return MemoryItem(
        path=path[:whole], description=redact(description[:chars]) if description else description,
        tags=[name[:100] for name in names[:most]], owner=_text(entry, "owner", 256), sha=_text(entry, "sha", 64),
        file_type=_text(entry, "file_type", 64), last_updated=_text(entry, "last_updated", 64),
        source=_text(entry, "source", 64), pinned=entry.get("pinned") is True, score=score, cut=cut,
    )  # fmt: skip


def _text(entry: remembered.Item, name: str, chars: int | None = None) -> str | None:
    value: Any = entry.get(name)
    return value[:chars] if isinstance(value, str) else None


def _bytes(model: MemoryItem | QueryOut) -> int:
    return len(model.model_dump_json().encode())


def _mark(hit: Hit, at: int) -> list[str | int]:
    """What a cursor remembers of the last item: its rank and path; a long path by its digest and place."""
    score, doc = hit
    short = doc.path if len(doc.path) <= CURSOR_PATH_CHARS else ""
    return [score, short, "" if short else _digest(doc.path), at]


def _start(hits: list[Hit], last: list[Any] | None) -> int:
    """Where the page after a cursor begins, also when files came or went meanwhile."""
    if last is None:
        return 0
    score, path, digest, at = last
    if path and score == 0:
        return bisect_right(hits, path, key=lambda hit: hit[1].path)
    for number, (_, doc) in enumerate(hits):
        if doc.path == path or (digest and _digest(doc.path) == digest):
            return number + 1
    return min(int(at), len(hits)) if isinstance(at, int) else 0


def _digest(path: str) -> str:
    return hashlib.sha256(path.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _stats(place: Place, docs: Sequence[Doc], warnings: list[str], size: int) -> QueryOut:
    most = TOP
    while True:
        reply = QueryOut(
            items=[], next_cursor=None, total=len(docs), truncated=most < TOP, stats=_counted(docs, most),
            warnings=warnings, repo_name=place.repo_name, branch=place.branch.name,
            message=f"{len(docs)} files are known in branch {place.branch.name} of {place.repo_name}.",
        )  # fmt: skip
        if most == 0 or _bytes(reply) <= size:
            return reply
        most //= 2


def _counted(docs: Sequence[Doc], most: int) -> Stats:
    def top(values: Iterable[str | None]) -> dict[str, int]:
        counted = Counter(value[:100] or "(none)" for value in values if value is not None)
        return dict(sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))[:most])

    entries = [doc.entry for doc in docs]
    stamps = [stamp for entry in entries if (stamp := _text(entry, "last_updated", 64))]
    return Stats(
        files=len(entries),
        described=sum(bool(entry.get("description")) for entry in entries),
        pinned=sum(entry.get("pinned") is True for entry in entries),
        by_file_type=top(_text(entry, "file_type") for entry in entries),
        by_owner=top(_text(entry, "owner") for entry in entries),
        by_tag=top(tag for doc in docs for tag in doc.tags),
        by_source=top(_text(entry, "source") for entry in entries),
        last_updated=max(stamps, default=None),
    )
