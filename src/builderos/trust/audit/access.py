"""Who read what: a row for each file that somebody was given, durable before the reply leaves.

A reading call has a transaction that cannot write. Its rows travel in one message behind it (`Unit.keep`): one round
trip, and a flush of the log that PostgreSQL shares among all who commit at that moment. Readers hold no lock that
another one waits for; nothing is kept in memory, so nothing that was answered can be lost.

Rows are sealed some time after they were written: a line of the ledger holds the hash of a batch, and from then on no
row of it can be changed or taken away unnoticed, but by the retention, which leaves a line of its own.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

import sqlalchemy as sa
from pydantic import Field

from builderos.core.clock import rfc3339
from builderos.core.context import Context
from builderos.core.operations import Download
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.schema import In, Instant, Line, Out, Text
from builderos.core.unit import Unit, as_system, open_unit
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource

from .model import accesses
from .sheets import csv_row

SEALED: Final = "access.sealed"
FORGOTTEN: Final = "access.forgotten"
SETTLED: Final = timedelta(minutes=1)  # after which no row with a lower number can appear any more
BATCH: Final = 2000
PER_SEAL: Final = 10_000
COLUMNS: Final = (
    "id", "at", "actor", "actor_name", "role", "door", "request_id", "tool", "action", "object", "repo", "branch",
    "path",
)  # fmt: skip


class AccessIn(In):
    """Filters."""

    actor: Annotated[Line | None, Field(description="Id of who read.")] = None
    action: Annotated[Line | None, Field(description="How, e.g. files.read or git.fetch.")] = None
    object: Annotated[
        Line | None, Field(description="Id of what was read: a branch, a run, an artifact.")
    ] = None
    branch: Annotated[Line | None, Field(description="Branch that was read.")] = None
    path: Annotated[Text | None, Field(description="File that was read.", max_length=8192)] = None
    from_: Annotated[Instant | None, Field(alias="from", description="Not before this time.")] = None
    to: Annotated[Instant | None, Field(description="Before this time.")] = None
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class Access(Out):
    """Somebody was given something. `path` is null where it was all of it, as for a clone."""

    id: int
    at: datetime
    actor: str
    actor_name: str
    role: str
    door: str
    request_id: str
    tool: str
    action: str
    object: str
    repo: str | None
    branch: str | None
    path: str | None


class AccessPage(Out):
    """One page, newest first."""

    items: list[Access]
    next_cursor: str | None


class AccessExportIn(In):
    """Form of the export."""

    format: Literal["jsonl", "csv"] = "jsonl"


def note(
    unit: Unit, action: str, object_: str, *, repo: str | None = None, branch: str | None = None,
    paths: Sequence[str] = (),
) -> None:  # fmt: skip
    """Record that the caller is given this, before the reply leaves; `paths` empty: the whole of it."""
    call, actor = unit.call, unit.actor
    row = (
        unit.now, actor.id, actor.name, actor.role, call.door, call.request_id, call.tool, action, object_, repo,
        branch, list(paths),
    )  # fmt: skip
    unit.keep(lambda own: own.send("ops.note_access", *row))


def search(unit: Unit, body: AccessIn) -> AccessPage:
    """Who read what, newest first."""
    policy.require(unit, "audit.read", resource(unit))
    filters = body.model_dump(exclude={"limit", "cursor"}, exclude_none=True)
    key = list_key("accesses", **filters)
    c = accesses.c
    wanted = (
        sa.select(*(c[name] for name in COLUMNS)).order_by(c.at.desc(), c.id.desc()).limit(body.limit + 1)
    )
    last = decode_cursor(key, body.cursor)
    if last is not None:
        before = sa.select(c.at, c.id).where(c.id == number_of(last[0])).scalar_subquery()
        wanted = wanted.where(sa.tuple_(c.at, c.id) < before)
    rows = unit.execute(wanted.where(*_matches(body))).all()
    items = [Access(**dict(zip(COLUMNS, row, strict=True))) for row in rows[: body.limit]]
    more = len(rows) > body.limit
    note(unit, "audit.read", unit.org_id)
    next_ = encode_cursor(key, [items[-1].id]) if more else None
    return AccessPage(items=items, next_cursor=next_)


def number_of(value: object) -> int:
    """The number in a cursor. Raises `validation_failed` for what is none."""
    if isinstance(value, int) and 0 <= value < 2**63:
        return value
    raise Problem(
        "validation_failed", "the cursor does not belong to this list", hint="Start again without a cursor."
    )


def _matches(body: AccessIn) -> list[sa.ColumnElement[bool]]:
    c = accesses.c
    equal = ((c.actor, body.actor), (c.action, body.action), (c.object, body.object), (c.branch, body.branch))
    found: list[sa.ColumnElement[bool]] = [column == value for column, value in equal if value is not None]
    if body.path is not None:
        found += [sa.func.md5(c.path) == hashlib.md5(body.path.encode(), usedforsecurity=False).hexdigest(),
                  c.path == body.path]  # fmt: skip
    if body.from_ is not None:
        found.append(c.at >= body.from_)
    if body.to is not None:
        found.append(c.at < body.to)
    return found


def export(unit: Unit, body: AccessExportIn) -> Download:
    """Stream every row that is kept, oldest first, in constant memory."""
    policy.require(unit, "audit.export", resource(unit))
    last = unit.execute(sa.select(sa.func.max(accesses.c.id))).scalar_one() or 0
    note(unit, "access.export", unit.org_id)
    context, call = unit.context, unit.call

    def pages() -> Iterator[list[dict[str, Any]]]:
        after = 0
        while after < last:
            with open_unit(context, call, read_only=True) as own:
                page = rows_after(own, after, last)
            if not page:
                return
            yield page
            after = page[-1]["id"]

    name = f"access-{unit.org_id}-{last}.{body.format}"
    if body.format == "csv":
        return Download(_csv(pages()), "text/csv; charset=utf-8", name)
    chunks = ("".join(f"{as_json(row)}\n" for row in page).encode() for page in pages())
    return Download(chunks, "application/jsonl", name)


def _csv(pages: Iterator[list[dict[str, Any]]]) -> Iterator[bytes]:
    yield csv_row(COLUMNS)
    for page in pages:
        yield b"".join(csv_row([str(row[c]) if row[c] is not None else "" for c in COLUMNS]) for row in page)


def rows_after(unit: Unit, after: int, upto: int | None = None, limit: int = BATCH) -> list[dict[str, Any]]:
    """Rows behind a number in order, as they are given out."""
    c = accesses.c
    wanted = sa.select(*(c[name] for name in COLUMNS)).where(c.id > after).order_by(c.id).limit(limit)
    if upto is not None:
        wanted = wanted.where(c.id <= upto)
    rows = (dict(zip(COLUMNS, row, strict=True)) for row in unit.execute(wanted))
    return [row | {"at": rfc3339(row["at"])} for row in rows]


def settled(unit: Unit) -> int:
    """The number up to which no further row can appear."""
    noted = accesses.c.noted_at < sa.func.clock_timestamp() - SETTLED
    newest = sa.select(accesses.c.id).where(noted).order_by(accesses.c.id.desc()).limit(1)
    return unit.execute(newest).scalar_one_or_none() or 0


def as_json(row: dict[str, Any]) -> str:
    """A row as it is exported, sent and hashed: sorted keys, no spaces."""
    return json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


# ---------------------------------------------------------------- seals


def seal(unit: Unit) -> bool:
    """Seal the next batch of rows by a line of the ledger; whether there was one."""
    after = _sealed_upto(unit)
    upto = settled(unit)
    if upto <= after:
        return False
    rows = rows_after(unit, after, upto, PER_SEAL)
    if not rows:
        return False
    last: int = rows[-1]["id"]
    payload = {"after": after, "upto": last, "count": len(rows), "sha256": _digest(rows)}
    ledger.record(unit, SEALED, unit.org_id, payload)
    return True


def seal_all(context: Context, org_id: str) -> int:
    """Seal all there is; how many batches that were. For the schedule."""
    count = 0
    while as_system(context, org_id, seal):
        count += 1
    return count


def unsealed(unit: Unit) -> list[str]:
    """Batches whose rows are not those that were sealed. What the retention took away is not looked for."""
    gone = _forgotten_upto(unit)
    findings: list[str] = []
    for line in ledger.lines_about(unit, unit.org_id, type_=SEALED, limit=None):
        said = line["payload"]
        if said["after"] < gone:
            continue
        rows = rows_after(unit, said["after"], said["upto"], PER_SEAL + 1)
        if (len(rows), _digest(rows)) != (said["count"], said["sha256"]):
            findings.append(
                f"accesses {said['after'] + 1} to {said['upto']} are not those of line {line['seq']}"
            )
    return findings


def forget(unit: Unit, before: datetime) -> int:
    """Take away whole sealed batches that are older; none where a legal hold is. Returns how many rows."""
    gone = _forgotten_upto(unit)
    upto = gone
    for line in ledger.lines_about(unit, unit.org_id, type_=SEALED, limit=None):
        said = line["payload"]
        if said["upto"] <= gone:
            continue
        newest = sa.select(sa.func.max(accesses.c.at)).where(
            accesses.c.id > said["after"], accesses.c.id <= said["upto"]
        )
        last = unit.execute(newest).scalar_one()
        if last is None or last >= before:
            break
        upto = said["upto"]
    if upto == gone:
        return 0
    count = int(unit.ask("ops.forget_accesses", upto)[0][0])
    if count:
        ledger.record(unit, FORGOTTEN, unit.org_id, {"upto": upto, "count": count})
    return count


def _sealed_upto(unit: Unit) -> int:
    lines = ledger.search(unit, ledger.Wanted(type=SEALED), before=None, limit=1)
    return int(lines[0]["payload"]["upto"]) if lines else 0


def _forgotten_upto(unit: Unit) -> int:
    lines = ledger.search(unit, ledger.Wanted(type=FORGOTTEN), before=None, limit=1)
    return int(lines[0]["payload"]["upto"]) if lines else 0


def _digest(rows: Sequence[dict[str, Any]]) -> str:
    return hashlib.sha256("".join(f"{as_json(row)}\n" for row in rows).encode()).hexdigest()


def resource(unit: Unit) -> Resource:
    """The organisation's record as the policy sees it."""
    return Resource(kind="ledger", id=unit.org_id, org_id=unit.org_id)
