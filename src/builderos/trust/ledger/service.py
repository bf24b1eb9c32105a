"""Record acts, and prove that the record was not altered.

A line's hash is `sha256(previous hash + seq as 8 big-endian bytes + body)`; the first previous hash is
`sha256(organisation id)`. The body is canonical JSON (sorted keys, no spaces, UTF-8), hashed exactly as stored.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from builderos.core.chain import Line, Verdict
from builderos.core.clock import rfc3339
from builderos.core.merkle import leaf
from builderos.core.unit import Unit

from .checkpoints import STEP, Altered, Checkpoint, extend, extend_all, findings, latest, stored_tree, waiting
from .lines import export_rows, line_of, scan, stored_head, verify_stored
from .model import ledger, ledger_terms

__all__ = [
    "STEP", "Altered", "Checkpoint", "Line", "Verdict", "Wanted", "compose", "count_of", "export_rows", "extend",
    "extend_all", "findings", "latest", "leaf", "line_of", "line_of_commit", "lines_about", "lines_of",
    "named_commits", "record", "scan", "search", "stored_head", "stored_tree", "verify_stored", "waiting",
]  # fmt: skip


def compose(
    unit: Unit, type_: str, object_: str, payload: dict[str, Any], *, rules: Iterable[str] = ()
) -> str:
    """The canonical body of a line by this unit's actor at this unit's instant."""
    body = {
        "actor": unit.actor.id,
        "actor_name": unit.actor.name,
        "at": rfc3339(unit.now),
        "door": unit.call.door,
        "object": object_,
        "payload": payload,
        "request_id": unit.call.request_id,
        "role": unit.actor.role,
        "rules": list(rules),
        "type": type_,
    }
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def record(
    unit: Unit, type_: str, object_: str, payload: dict[str, Any], *, rules: Iterable[str] = ()
) -> None:
    """Append a line in this unit's transaction. Call it last: it serialises the organisation."""
    unit.send("ops.ledger_append", compose(unit, type_, object_, payload, rules=rules))


@dataclass(frozen=True)
class Wanted:
    """Which lines are looked for; None: any. `since` counts in, `until` does not."""

    type: str | None = None
    object: str | None = None
    actor: str | None = None
    branch: str | None = None
    path: str | None = None
    code: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def search(unit: Unit, wanted: Wanted, *, before: int | None, limit: int) -> list[dict[str, Any]]:
    """Newest first, at most `limit` lines that match."""
    # The number in the index that finds them, all of which hold it last: nothing is sorted.
    number = ledger.c.seq if wanted.path is None else ledger_terms.c.seq
    lines = sa.select(ledger).where(*_matches(unit, wanted, number)).order_by(number.desc()).limit(limit)
    if before is not None:
        lines = lines.where(number < before)
    return [
        {
            "seq": r.seq,
            "org_id": r.org_id,
            **json.loads(r.body),
            "prev_hash": r.prev_hash.hex(),
            "hash": r.hash.hex(),
        }
        for r in unit.execute(lines)
    ]


def lines_about(unit: Unit, object_: str, *, type_: str, limit: int = 100) -> list[dict[str, Any]]:
    """Lines of a type about one object, oldest first."""
    wanted = _whole().where(ledger.c.object == object_, ledger.c.type == type_)
    return [_event(row) for row in unit.execute(wanted.order_by(ledger.c.seq).limit(limit))]


def line_of_commit(unit: Unit, sha: str) -> dict[str, Any] | None:
    """The line of the act that made a commit: the first that has it as its object, or the push that brought it."""
    wanted = _whole().where(ledger.c.object == sha).order_by(ledger.c.seq).limit(1)
    row = unit.execute(wanted).one_or_none()
    if row is None:
        named = _named(f"commit:{sha}", "commits", sha)
        pushed = _whole().where(ledger.c.type == "push", *named).order_by(ledger_terms.c.seq).limit(1)
        row = unit.execute(pushed).one_or_none()
    return _event(row) if row is not None else None


def _whole() -> sa.Select[Any, Any, Any]:
    return sa.select(ledger.c.seq, ledger.c.hash, ledger.c.body)


def _event(row: sa.Row[Any]) -> dict[str, Any]:
    return {"seq": row.seq, "hash": bytes(row.hash).hex(), **json.loads(row.body)}


def lines_of(unit: Unit, *, types: Sequence[str], actor: str, limit: int) -> list[dict[str, Any]]:
    """The newest lines of these types by one actor, oldest first, at most `limit`."""
    wanted = (
        sa.select(ledger.c.seq, ledger.c.body)
        .where(ledger.c.actor == actor, ledger.c.type.in_(types))
        .order_by(ledger.c.seq.desc())
        .limit(limit)
    )
    return [{"seq": r.seq, **json.loads(r.body)} for r in reversed(unit.execute(wanted).all())]


def count_of(unit: Unit, *, types: Sequence[str], actor: str) -> int:
    """How many lines of these types one actor left."""
    wanted = sa.select(sa.func.count()).where(ledger.c.actor == actor, ledger.c.type.in_(types))
    return int(unit.execute(wanted).scalar_one())


def _matches(unit: Unit, wanted: Wanted, number: sa.ColumnElement[int]) -> list[sa.ColumnElement[bool]]:
    c = ledger.c
    equal = ((c.type, wanted.type), (c.object, wanted.object), (c.actor, wanted.actor), (c.branch, wanted.branch),
             (c.code, wanted.code))  # fmt: skip
    found: list[sa.ColumnElement[bool]] = [column == value for column, value in equal if value is not None]
    if wanted.path is not None:
        found += _named(f"path:{wanted.path}", "paths", wanted.path)
    if wanted.since is None and wanted.until is None:
        return found
    first, last = unit.ask("ops.ledger_span", wanted.since, wanted.until)[0]
    found += [number >= first, number <= last]
    if wanted.since is not None:
        found.append(c.at >= wanted.since)
    if wanted.until is not None:
        found.append(c.at < wanted.until)
    return found


def _named(word: str, member: str, value: str) -> list[sa.ColumnElement[bool]]:
    """Lines whose payload names `value` in a list: found by the index of words, and looked at because it is short."""
    term = hashlib.sha256(word.encode()).digest()[:8]
    terms = ledger_terms.c
    among = sa.cast(ledger.c.body, JSONB).op("->")("payload").op("->")(member)
    return [terms.org_id == ledger.c.org_id, terms.seq == ledger.c.seq, terms.term == term,
            among.op("?", is_comparison=True)(value)]  # fmt: skip


def named_commits(unit: Unit) -> set[str]:
    """Shas of every commit that some line names: as its object, or among the `commits` of a push."""
    found: set[str] = set()
    for line in unit.execute(sa.select(ledger.c.object, ledger.c.type, ledger.c.body)):
        found.add(line.object)
        if line.type == "push":
            found.update(json.loads(line.body)["payload"].get("commits", ()))
    return found
