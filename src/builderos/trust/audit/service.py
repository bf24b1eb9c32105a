"""The auditor's verbs: search, stream out, verify."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import Field

from builderos.core.clock import rfc3339
from builderos.core.context import Context
from builderos.core.operations import Download
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.schema import In, Line, Out, Text
from builderos.core.unit import Call, Unit, open_unit
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource
from builderos.trust.signing.service import SignedHead, Signer

from . import access, keeping, shipping, sinks
from .ports import Witnesses
from .sheets import csv_row

__all__ = [
    "AuditIn", "AuditPage", "ExportIn", "VerifyIn", "VerifyOut", "Witnesses", "access", "export", "keeping", "search",
    "shipping", "sinks", "verify",
]  # fmt: skip

T = TypeVar("T")
BATCH: Final = 2000
CSV_COLUMNS: Final = (
    "seq",
    "at",
    "type",
    "object",
    "actor",
    "actor_name",
    "role",
    "door",
    "request_id",
    "rules",
    "payload",
    "hash",
)


class AuditIn(In):
    """Filters of the audit."""

    type: Annotated[Line | None, Field(description="Type of event, e.g. commit.")] = None
    object: Annotated[Line | None, Field(description="Id or sha of what was acted upon.")] = None
    actor: Annotated[Line | None, Field(description="Id of who acted.")] = None
    branch: Annotated[Line | None, Field(description="Branch that was acted upon.")] = None
    path: Annotated[Text | None, Field(description="File that was changed.", max_length=4096)] = None
    code: Annotated[Line | None, Field(description="Code of a refusal, e.g. forbidden_branch.")] = None
    from_: Annotated[datetime | None, Field(alias="from", description="Not before this time.")] = None
    to: Annotated[datetime | None, Field(description="Before this time.")] = None
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class WordsOut(Out):
    """A text of a line: `commitment`, which the line holds, is SHA-256 over salt (16 bytes) and text."""

    commitment: str
    salt: str
    text: str


class Event(Out):
    """One line of the ledger."""

    seq: int
    org_id: str
    type: str
    object: str
    actor: str
    actor_name: str
    role: str
    door: str
    request_id: str
    rules: list[str]
    at: str
    payload: Annotated[
        dict[str, Any],
        Field(description="What people wrote (comment, reason, title) is null once it is erased."),
    ]
    words: Annotated[
        list[WordsOut], Field(description="What proves these texts to be those that the line commits to.")
    ]
    prev_hash: str
    hash: str


class AuditPage(Out):
    """One page, newest first."""

    items: list[Event]
    next_cursor: str | None


class ExportIn(In):
    """Form of the export."""

    format: Annotated[
        Literal["jsonl", "csv"], Field(description="jsonl can be verified offline; csv is for reading.")
    ] = "jsonl"


class VerifyIn(In):
    """Nothing to say: the whole chain is verified."""


class VerifyOut(Out):
    """`ok` only if every line fits its predecessor, the head fits, and nothing is on a branch without a line."""

    ok: bool
    lines: int
    first_bad: int | None
    reason: str
    findings: list[str]
    head: dict[str, Any]


def search(unit: Unit, body: AuditIn) -> AuditPage:
    """Lines of the ledger, newest first."""
    policy.require(unit, "audit.read", _resource(unit))
    if any(at is not None and at.tzinfo is None for at in (body.from_, body.to)):
        raise Problem("validation_failed", "from and to need a time zone", hint="End them with Z.")
    filters = body.model_dump(exclude={"limit", "cursor"}, exclude_none=True)
    key = list_key("audit", **filters)
    last = decode_cursor(key, body.cursor)
    found = ledger.search(
        unit, ledger.Wanted(type=body.type, object=body.object, actor=body.actor, branch=body.branch, path=body.path,
                            code=body.code, since=body.from_, until=body.to),
        before=access.number_of(last[0]) if last else None, limit=body.limit + 1,
    )  # fmt: skip
    known = ledger.words.kept(unit, (line["payload"] for line in found))
    items = [_event(line, known) for line in found[: body.limit]]
    access.note(unit, "audit.read", unit.org_id)
    more = len(found) > body.limit
    return AuditPage(items=items, next_cursor=encode_cursor(key, [items[-1].seq]) if more else None)


def _event(line: dict[str, Any], known: Mapping[str, ledger.words.Words]) -> Event:
    named = ledger.words.commitments_of(line["payload"]).values()
    told = [WordsOut(**asdict(known[hex_])) for hex_ in named if hex_ in known]
    payload = ledger.words.opened(line["payload"], known)
    return Event.model_validate({**line, "payload": payload, "words": told})


def export(unit: Unit, body: ExportIn) -> Download:
    """Stream the whole ledger up to now, in constant memory; the last row holds the signed head and checkpoint."""
    policy.require(unit, "audit.export", _resource(unit))
    access.note(unit, "audit.export", unit.org_id)
    seq, hash_ = ledger.stored_head(unit)
    head = unit.get(Signer).sign_head(unit.org_id, seq, hash_.hex(), rfc3339(unit.now))
    name = f"audit-{unit.org_id}-{seq}.{body.format}"
    if body.format == "csv":
        return Download(_csv(_pages(unit.context, unit.call, seq, _page)), "text/csv; charset=utf-8", name)
    signed = ledger.latest(unit)
    note = signed.note if signed is not None and signed.size <= seq else None
    rows = _pages(unit.context, unit.call, seq, ledger.export_rows)
    return Download(_jsonl(rows, head, note), "application/jsonl", name)


def _pages(context: Context, call: Call, upto: int, read: Callable[[Unit, int, int], T]) -> Iterator[T]:
    """What `read` gives for the lines in batches, each in a transaction of its own: a slow reader holds none open."""
    for after in range(0, upto, BATCH):
        with open_unit(context, call, read_only=True) as unit:
            page = read(unit, after, min(after + BATCH, upto))
        yield page


def _page(unit: Unit, after: int, upto: int) -> list[dict[str, Any]]:
    """Lines for reading: with what people wrote, as far as it was not erased."""
    lines = list(ledger.scan(unit, after=after, upto=upto, batch=BATCH))
    bodies = [json.loads(line.body) | {"seq": line.seq, "hash": line.hash.hex()} for line in lines]
    known = ledger.words.kept(unit, (body["payload"] for body in bodies))
    return [body | {"payload": ledger.words.opened(body["payload"], known)} for body in bodies]


def _jsonl(rows: Iterator[str], head: SignedHead, checkpoint: str | None) -> Iterator[bytes]:
    for page in rows:
        yield page.encode()
    yield json.dumps({"head": asdict(head), "checkpoint": checkpoint}).encode() + b"\n"


def _csv(pages: Iterator[list[dict[str, Any]]]) -> Iterator[bytes]:
    yield csv_row(CSV_COLUMNS)
    for page in pages:
        yield b"".join(csv_row([_cell(body.get(column, "")) for column in CSV_COLUMNS]) for body in page)


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def verify(unit: Unit, _body: VerifyIn) -> VerifyOut:
    """Recompute the chain, compare it with every checkpoint, and ask every witness."""
    policy.require(unit, "audit.verify", _resource(unit))
    verdict = ledger.verify_stored(unit)
    witnesses = unit.get(Witnesses)
    findings = [finding for name in witnesses for finding in witnesses.get(name)(unit)]
    findings += ledger.findings(unit, verdict.lines)
    seq, hash_ = ledger.stored_head(unit)
    head = unit.get(Signer).sign_head(unit.org_id, seq, hash_.hex(), rfc3339(unit.now))
    return VerifyOut(
        ok=verdict.ok and not findings, lines=verdict.lines, first_bad=verdict.first_bad, reason=verdict.reason,
        findings=findings[:200], head=asdict(head),
    )  # fmt: skip


def _resource(unit: Unit) -> Resource:
    return Resource(kind="ledger", id=unit.org_id, org_id=unit.org_id)
