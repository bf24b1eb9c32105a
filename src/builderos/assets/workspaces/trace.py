"""What happened in one workspace, from the start: prompts, reasoning, tasks, commits, approvals, failed calls."""

import csv
import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

import pygit2
import sqlalchemy as sa

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.service import decode_commit
from builderos.core.clock import rfc3339
from builderos.core.schema import Out
from builderos.core.unit import Unit
from builderos.trust.ledger import service as ledger
from builderos.trust.secrets.service import redact

from . import delivery, tasknotes
from .content import TreeFiles, repository_of
from .model import pulls
from .places import Place
from .taskboard import Board

Kind = Literal["prompt", "reasoning", "task", "commit", "rollback", "approval", "failed_call"]
FAILED: Final = ("call.failed", "refused")
MAX_LINES: Final = 5000
TEXT_CHARS: Final = 20_000
COLUMNS: Final = ("kind", "at", "id", "task_id", "by", "text")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


class TraceItem(Out):
    """One thing that happened, or was written down. `at` is null for files that carry no time of their own."""

    kind: Kind
    at: str | None
    id: str
    task_id: str | None
    by: str | None
    text: str


@dataclass(frozen=True)
class Span:
    """The time a trace is about; None leaves an end open."""

    since: datetime | None = None
    until: datetime | None = None

    def __contains__(self, at: object) -> bool:
        if self.since is None and self.until is None:
            return True
        moment = _moment(at)
        if moment is None:
            return False
        return (self.since is None or moment >= self.since) and (self.until is None or moment <= self.until)


def _moment(at: object) -> datetime | None:
    if isinstance(at, datetime):
        return at
    try:
        found = datetime.fromisoformat(at) if isinstance(at, str) else None
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found is not None and found.tzinfo is None else found


def actor_of(place: Place) -> str | None:
    """The actor of a sandbox's token: they share the random part of their ids."""
    return "act_" + place.branch.id.removeprefix("br_") if place.branch.kind == "sandbox" else None


def own_commits(unit: Unit, place: Place, span: Span) -> Iterator[TraceItem]:
    """The branch's own commits, oldest first: merges of main count once."""
    repo = repository_of(unit, place.branch)
    walker = repo.walk(place.branch.tip, pygit2.enums.SortMode.TOPOLOGICAL | pygit2.enums.SortMode.REVERSE)
    walker.simplify_first_parent()
    walker.hide(place.branch.base_sha)
    for found in walker:
        commit = decode_commit(found.read_raw())
        if commit.committed_at in span:
            yield TraceItem(
                kind="commit", at=rfc3339(commit.committed_at), id=str(found.id),
                task_id=dict(commit.trailers).get("BuilderOS-Task"), by=commit.author.name, text=_clean(commit.message),
            )  # fmt: skip


def rollbacks(
    unit: Unit, place: Place, tip: TreeFiles, layout: delivery.Layout, span: Span
) -> Iterator[TraceItem]:
    """Changelog entries of this branch that undo a commit."""
    entries = [*delivery.changelog.entries(tip, layout), *repositories.pending_of(unit, place.branch)[0]]
    for entry in entries:
        if (
            entry.get("reverts")
            and entry.get("branch") == place.branch.name
            and entry.get("timestamp") in span
        ):
            yield _of_entry("rollback", entry, at="timestamp", by="committed_by", text="message")


def written(tip: TreeFiles, name: str, kind: Kind) -> Iterator[TraceItem]:
    """The logs that tasks keep as files: `outputs/<task>/<name>`."""
    for task_id in sorted(tip.list("outputs")):
        path = f"outputs/{task_id}/{name}"
        data = tip.read(path)
        if data is not None:
            text = _clean(data.decode("utf-8", "replace"))
            yield TraceItem(kind=kind, at=None, id=path, task_id=task_id, by=None, text=text)


def notes(tip: TreeFiles, span: Span) -> Iterator[TraceItem]:
    """Reasoning and hand-offs of every task."""
    for task_id in tasknotes.tasks_with_notes(tip):
        for entry in tasknotes.notes_of(tip, task_id):
            if entry.get("at") in span:
                words = {k: v for k, v in entry.items() if k not in ("id", "at", "by")}
                text = _clean(json.dumps(words, ensure_ascii=False, sort_keys=True))
                yield TraceItem(
                    kind="reasoning", at=_text(entry, "at"), id=_text(entry, "id") or "", task_id=task_id,
                    by=_text(entry, "by"), text=text,
                )  # fmt: skip


def task_items(board: Board) -> Iterator[TraceItem]:
    """The tasks as they stand now."""
    for task in board.tasks.values():
        words = {
            "title": task.title,
            "status": task.status,
            "outputs": task.outputs,
            "depends_on": task.depends_on,
        }
        text = _clean(json.dumps(words, ensure_ascii=False, sort_keys=True))
        yield TraceItem(
            kind="task", at=task.updated_at, id=task.id, task_id=task.id, by=task.assigned_pod, text=text
        )  # fmt: skip


def approvals(unit: Unit, place: Place, span: Span) -> Iterator[TraceItem]:
    """What was asked and decided about promotions of this branch: who, when, which diff."""
    c = pulls.c
    wanted = sa.select(c.approval_id).where(c.source_branch_id == place.branch.id, c.approval_id.is_not(None))
    for id_ in unit.execute(wanted.order_by(c.id).limit(MAX_LINES)).scalars().all():
        lines = ledger.search(unit, ledger.Wanted(object=id_), before=None, limit=50)
        yield from (_of_line("approval", line) for line in reversed(lines) if line["at"] in span)


def failed_calls(unit: Unit, place: Place, span: Span) -> Iterator[TraceItem]:
    """Calls with this sandbox's token that were refused or failed."""
    actor = actor_of(place)
    if actor is None:
        return
    for line in ledger.lines_of(unit, types=FAILED, actor=actor, limit=MAX_LINES):
        if line["at"] in span:
            yield _of_line("failed_call", line)


def _of_line(kind: Kind, line: Mapping[str, Any]) -> TraceItem:
    payload = json.dumps({"type": line["type"], **line["payload"]}, ensure_ascii=False, sort_keys=True)
    return TraceItem(
        kind=kind, at=line["at"], id=line["object"], task_id=None, by=line["actor_name"], text=_clean(payload)
    )  # fmt: skip


def _of_entry(kind: Kind, entry: Mapping[str, Any], *, at: str, by: str, text: str) -> TraceItem:
    return TraceItem(
        kind=kind, at=_text(entry, at), id=_text(entry, "id") or "", task_id=_text(entry, "task_id"),
        by=_text(entry, by), text=_clean(_text(entry, text) or ""),
    )  # fmt: skip


def _text(entry: Mapping[str, Any], name: str) -> str | None:
    value = entry.get(name)
    return value if isinstance(value, str) else None


def _clean(text: str) -> str:
    return redact(text[:TEXT_CHARS])


def as_csv(items: Sequence[TraceItem]) -> bytes:
    """The items as a table in which no cell is taken for a formula by a spreadsheet."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for item in items:
        writer.writerow([_safe(getattr(item, name)) for name in COLUMNS])
    return out.getvalue().encode()


def _safe(value: str | None) -> str:
    text = value or ""
    return "'" + text if text.startswith(_FORMULA) else text


def as_zip(items: Sequence[TraceItem], summary: Mapping[str, Any]) -> bytes:
    """The same as an archive: one table per kind, everything as JSON, the numbers. Equal content makes equal bytes."""
    files = {
        "summary.json": _json(summary),
        "trace.json": _json([item.model_dump() for item in items]),
        "trace.csv": as_csv(items),
    }
    for kind in sorted({item.kind for item in items}):
        files[f"{kind}s.csv"] = as_csv([item for item in items if item.kind == kind])
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, files[name])
    return out.getvalue()


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1).encode("utf-8", "replace") + b"\n"
