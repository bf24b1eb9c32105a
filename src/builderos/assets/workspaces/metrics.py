"""`/system/metrics`: the numbers of a branch, and its whole trace to take away."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from builderos.assets.repositories.schema import MAIN
from builderos.core.operations import Download
from builderos.core.problems import Problem
from builderos.core.schema import ToolOut
from builderos.core.unit import Unit
from builderos.trust.ledger import service as ledger
from builderos.trust.vault import service as vault

from . import trace
from .content import TreeFiles, batch_of, tree_of
from .layout import layout_of
from .places import BranchIn, Place, locate
from .taskboard import Board, board_of
from .trace import Span, TraceItem

JSON_CHARS = 80_000


class MetricsIn(BranchIn):
    """Numbers (`summary`) or the whole trace (`export`) of a branch; of main where neither token nor body names one."""

    mode: Annotated[
        Literal["summary", "export"], Field(description="summary: numbers. export: everything.")
    ] = "summary"
    format: Annotated[
        Literal["json", "csv", "zip"], Field(description="export: the form; summary is JSON.")
    ] = "json"
    from_: Annotated[AwareDatetime | None, Field(alias="from", description="Not before this time.")] = None
    to: Annotated[AwareDatetime | None, Field(description="Not after this time.")] = None


class MetricsOut(ToolOut):
    """Numbers of a branch. `files` differ from its start; `trace` comes with mode export, oldest first.

    `truncated`: the trace did not fit into one reply and began with the newest; the formats csv and zip hold all of it.
    """

    mode: Literal["summary", "export"]
    commits: int
    files: int
    rollbacks: int
    failed_calls: int
    tasks: dict[str, int]
    trace: list[TraceItem]
    truncated: bool
    warnings: list[str]


def metrics(unit: Unit, body: MetricsIn) -> MetricsOut | Download:
    """Count what happened on a branch, or export it. Raises `validation_failed` (summary as file) and as `locate`."""
    if body.mode == "summary" and body.format != "json":
        raise Problem(
            "validation_failed", "the summary is JSON", hint="Use mode export for a file.", field="format"
        )
    if body.branch is None and unit.actor.branch is None:
        body = body.model_copy(update={"branch": MAIN})
    place = locate(unit, body, "metrics.read")
    span = Span(body.from_, body.to)
    batch = batch_of(unit, place.branch)
    tip = TreeFiles(batch, tree_of(batch, place.branch.tip))
    board, warnings = _board(unit, place, tip)
    out = _summary(unit, place, tip, board, span, warnings)
    if body.mode == "summary":
        return out
    items = _items(unit, place, tip, board, span)
    if body.format == "csv":
        return Download(iter([trace.as_csv(items)]), "text/csv", f"{place.branch.name}.csv")
    if body.format == "zip":
        numbers = out.model_dump(exclude={"trace", "truncated", "mode", "message"})
        return Download(iter([trace.as_zip(items, numbers)]), "application/zip", f"{place.branch.name}.zip")
    kept = _fitting(items)
    return out.model_copy(update={"mode": "export", "trace": kept, "truncated": len(kept) < len(items)})


def _board(unit: Unit, place: Place, tip: TreeFiles) -> tuple[Board, list[str]]:
    """The tasks; a task file that cannot be read is a warning here: the other numbers stand."""
    try:
        board = board_of(unit, place, tip)
    except Problem as problem:
        return Board({}, []), [problem.detail]
    return board, board.warnings[:20]


def _summary(
    unit: Unit, place: Place, tip: TreeFiles, board: Board, span: Span, warnings: list[str]
) -> MetricsOut:  # fmt: skip
    branch, actor = place.branch, trace.actor_of(place)
    whole = span == Span()
    failed = ledger.count_of(unit, types=trace.FAILED, actor=actor) if whole and actor is not None else None
    counts: dict[str, int] = {}
    for task in board.tasks.values():
        counts[task.status] = counts.get(task.status, 0) + 1
    commits = branch.commits if whole else sum(1 for _ in trace.own_commits(unit, place, span))
    rollbacks = sum(1 for _ in trace.rollbacks(unit, place, tip, layout_of(tip), span))
    calls = sum(1 for _ in trace.failed_calls(unit, place, span)) if failed is None else failed
    return MetricsOut(
        mode="summary", commits=commits, files=branch.files, rollbacks=rollbacks, failed_calls=calls, tasks=counts,
        trace=[], truncated=False, warnings=warnings, repo_name=place.repo_name, branch=branch.name,
        message=f"{commits} commits, {branch.files} changed files, {rollbacks} rollbacks and {calls} failed calls on "
        f"branch {branch.name} of {place.repo_name}.",
    )  # fmt: skip


def _items(unit: Unit, place: Place, tip: TreeFiles, board: Board, span: Span) -> list[TraceItem]:
    """Everything, oldest first; what carries no time comes first."""
    items = [
        *trace.written(tip, "prompt_log.md", "prompt"),
        *trace.written(tip, "reasoning_trace.md", "reasoning"),
        *trace.notes(tip, span),
        *trace.task_items(board),
        *trace.own_commits(unit, place, span),
        *trace.rollbacks(unit, place, tip, layout_of(tip), span),
        *trace.approvals(unit, place, span),
        *trace.failed_calls(unit, place, span),
    ]
    cleaned = [item.model_copy(update={"text": vault.clean_text(unit, item.text)}) for item in items]
    return sorted(cleaned, key=lambda item: (item.at or "", item.kind, item.id))


def _fitting(items: list[TraceItem]) -> list[TraceItem]:
    """The newest items that fit into one reply, oldest first."""
    room, kept = JSON_CHARS, list[TraceItem]()
    for item in reversed(items):
        room -= len(item.model_dump_json()) + 1
        if room < 0:
            break
        kept.append(item)
    return kept[::-1]
