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
from builderos.core.cleaning import cleaned_texts
from builderos.core.clock import rfc3339
from builderos.core.merkle import leaf
from builderos.core.unit import Unit
from builderos.engine import news

from . import words
from .checkpoints import STEP, Altered, Checkpoint, extend, extend_all, findings, latest, stored_tree, waiting
from .lines import export_rows, line_of, lines_with, misplaced, scan, stored_head, verify_stored
from .model import ledger, ledger_terms
from .tally import Tally, tally

_FEW = 2000

__all__ = [
    "STEP", "Altered", "Checkpoint", "Line", "Tally", "Verdict", "Wanted", "compose", "count_of",
    "export_rows", "extend", "extend_all", "findings", "first_lines", "latest", "leaf", "line_of", "line_of_commit",
    "lines_about", "lines_of", "lines_typed", "lines_with", "misplaced", "named_commits", "record", "scan", "search",
    "stored_head", "stored_tree", "tally", "verify_stored", "waiting", "words",
]  # fmt: skip


def compose(
    unit: Unit, type_: str, object_: str, payload: dict[str, Any], *, rules: Iterable[str] = ()
) -> str:
    """The canonical body of a line by this unit's actor at this unit's instant.

    What people wrote goes beside the ledger in this transaction (`words`): the line holds a commitment to it.
    """
    news.stir(unit)
    body = {
        "actor": unit.actor.id,
        "actor_name": unit.actor.name,
        "at": rfc3339(unit.now),
        "door": unit.call.door,
        "object": object_,
        "payload": words.committed(unit, cleaned_texts(payload)),
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
    lines = _found(unit, wanted, before).limit(limit)
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


def lines_about(unit: Unit, object_: str, *, type_: str, limit: int | None = 100) -> list[dict[str, Any]]:
    """Lines of a type about one object, oldest first."""
    wanted = _whole().where(ledger.c.object == object_, ledger.c.type == type_)
    return [_event(row) for row in unit.execute(wanted.order_by(ledger.c.seq).limit(limit))]


def first_lines(unit: Unit, objects: list[str], types: list[str]) -> dict[tuple[str, str], dict[str, Any]]:
    """The oldest line of each of these types about each of these objects, by object and type."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in unit.rows(ledger, order="seq", object=objects, type=types):
        found.setdefault((row.object, row.type), _event(row))
    return found


def lines_typed(unit: Unit, type_: str) -> list[dict[str, Any]]:
    """Every line of a type, oldest first."""
    wanted = _whole().where(ledger.c.type == type_)
    return [_event(row) for row in unit.execute(wanted.order_by(ledger.c.seq))]


def line_of_commit(unit: Unit, sha: str) -> dict[str, Any] | None:
    """The line of the act that made a commit: the first that has it as its object, or the push that brought it."""
    wanted = _whole().where(ledger.c.object == sha).order_by(ledger.c.seq).limit(1)
    row = unit.execute(wanted).one_or_none()
    if row is None:
        pushed = unit.execute(_named("commit", "commits", sha, more=[ledger.c.type == "push"])).all()
        row = pushed[-1] if pushed else None
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


def _found(unit: Unit, wanted: Wanted, before: int | None) -> sa.Select[Any]:
    """Lines that match, newest first, by an index that has them in this order: nothing is sorted."""
    matches, path = _matches(wanted), wanted.path
    by_file = path is not None and (not matches or _is_rare(unit, f"path:{path}"))
    number = ledger_terms.c.seq if by_file else ledger.c.seq
    bounds: list[sa.ColumnElement[bool]] = [] if before is None else [number < before]
    if wanted.since is not None or wanted.until is not None:
        first, last = unit.ask("ops.ledger_span", wanted.since, wanted.until)[0]
        bounds += [number >= first, number <= last]
    matches += _at(wanted)
    if path is not None and by_file:
        return _named("path", "paths", path, bounds, matches)
    if path is not None:
        matches.append(_names("paths", path))
    return sa.select(ledger).where(*bounds, *matches).order_by(number.desc())


def _is_rare(unit: Unit, word: str) -> bool:
    """Whether few lines name it, so that they lead faster to what is looked for than anything else that is known."""
    some = sa.select(ledger_terms.c.seq).where(ledger_terms.c.term == _term(word)).limit(_FEW)
    return int(unit.execute(sa.select(sa.func.count()).select_from(some.subquery())).scalar_one()) < _FEW


def _term(word: str) -> bytes:
    return hashlib.sha256(word.encode()).digest()[:8]


def _names(member: str, value: str) -> sa.ColumnElement[bool]:
    among = sa.cast(ledger.c.body, JSONB).op("->")("payload").op("->")(member)
    return among.op("?", is_comparison=True)(value)


def _matches(wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    c = ledger.c
    equal = ((c.type, wanted.type), (c.object, wanted.object), (c.actor, wanted.actor), (c.branch, wanted.branch),
             (c.code, wanted.code))  # fmt: skip
    return [column == value for column, value in equal if value is not None]


def _at(wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    c, found = ledger.c, list[sa.ColumnElement[bool]]()
    if wanted.since is not None:
        found.append(c.at >= wanted.since)
    if wanted.until is not None:
        found.append(c.at < wanted.until)
    return found


def _named(
    kind: str, member: str, value: str,
    bounds: Sequence[sa.ColumnElement[bool]] = (), more: Sequence[sa.ColumnElement[bool]] = (),
) -> sa.Select[Any]:  # fmt: skip
    """Lines whose payload names `value` in a list, newest first.

    The index of words gives their numbers in order, and the lines are looked up one by one as far as they are wanted:
    left to itself the planner reads all lines and sorts. A word is short for many values, so the line itself is asked.
    """
    c, word = ledger_terms.c, f"{kind}:{value}"
    numbers = sa.select(c.seq).where(c.term == _term(word), *bounds).order_by(c.seq.desc()).subquery()
    line = (
        sa.select(ledger)
        .where(ledger.c.seq == numbers.c.seq, _names(member, value), *more)
        .offset(0)
        .lateral()
    )
    return sa.select(line).join_from(numbers, line, sa.true()).order_by(numbers.c.seq.desc())


def named_commits(unit: Unit) -> set[str]:
    """Shas of every commit that some line names: as its object, or among the `commits` of a push."""
    found: set[str] = set()
    for line in unit.execute(sa.select(ledger.c.object, ledger.c.type, ledger.c.body)):
        found.add(line.object)
        if line.type == "push":
            found.update(json.loads(line.body)["payload"].get("commits", ()))
    return found
