"""One run as a page shows it, in one reply: timeline, diff, artifacts, provenance and what waits for a person.

Its first page costs the same for five steps and for five thousand: nothing in it reads all steps.
"""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

import sqlalchemy as sa
from pydantic import Field

from builderos.assets.artifacts import service as artifacts
from builderos.assets.artifacts.schema import ArtifactPage, ListIn
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.schema import In, Line, Out
from builderos.core.unit import Unit
from builderos.trust.ledger import service as ledger
from builderos.trust.policy.ports import Names
from builderos.trust.policy.service import approvals

from .events import newest, read
from .model import steps
from .reading import as_step, provenance_of, summary
from .rows import Row
from .schema import RunSummary, StepOut
from .seen import seen_run, steps_of
from .view_diff import RunDiff, diff_of

_LIVE: Final = 50
_FAILED: Final = 20
_DECIDED: Final = 20
_ARTIFACTS: Final = 50
_GOING: Final = ("running", "retrying", "waiting_approval", "waiting_input")
_BAD: Final = ("failed", "denied", "timed_out")


class ViewIn(In):
    """Which run, and which page of its timeline."""

    id: Line
    limit: Annotated[int, Field(ge=1, le=200, description="Steps of one page of the timeline.")] = 50
    cursor: Annotated[str | None, Field(description="The next page, which has the timeline alone.")] = None


class Timeline(Out):
    """Steps in the order of the definition."""

    items: list[StepOut]
    next_cursor: str | None
    total: int
    open: Annotated[int, Field(description="Steps that have not ended.")]


class Brief(Out):
    """A step in few words."""

    step_id: str
    name: str
    lane: str
    status: str
    attempt: int
    start: datetime | None
    next_at: datetime | None
    reason: str | None
    error: str


class Gate(Out):
    """Somebody's word that the run waits for or has got."""

    kind: Literal["approval", "question"]
    step_id: str | None
    name: str | None
    state: Annotated[str, Field(description="waiting, or what an approval came to.")]
    approval_id: str | None
    question: dict[str, Any] | None
    approval: Annotated[
        dict[str, Any] | None,
        Field(description="action, risk, diff_stat, required, decisions, expires_at, link."),
    ]


class RunView(Out):
    """A run's page. Behind the first page only `timeline` is filled."""

    run: RunSummary
    params: dict[str, Any] | None
    timeline: Timeline
    now: Annotated[list[Brief] | None, Field(description="Steps that run or wait, at most 50.")]
    failed: Annotated[list[Brief] | None, Field(description="Steps that went wrong, the first 20.")]
    diff: RunDiff | None
    artifacts: ArtifactPage | None
    provenance: dict[str, Any] | None
    gates: list[Gate] | None
    preview_url: Annotated[
        str | None, Field(description="Where the preview that the run deployed last is looked at.")
    ] = None
    last_event: Annotated[int, Field(description="Follow the events from here on: Last-Event-ID.")]


def view(unit: Unit, body: ViewIn) -> RunView:
    """A page about a run. Raises `not_found`."""
    run = seen_run(unit, body.id)
    seen = newest(
        unit, run.id
    )  # first: an event that comes meanwhile is followed, even if it is shown already
    key = list_key("run view", run=run.id)
    after = decode_cursor(key, body.cursor)
    timeline = _timeline(unit, run, key, int(after[0]) if after else -1, body.limit)
    if after is not None:
        return RunView(
            run=summary(run), params=None, timeline=timeline, now=None, failed=None, diff=None, artifacts=None,
            provenance=None, gates=None, last_event=seen,
        )  # fmt: skip
    live = _live(unit, run)
    return RunView(
        run=summary(run), params=run.params, timeline=timeline, now=[_brief(row) for row in live],
        failed=[_brief(row) for row in _failed(unit, run)], diff=diff_of(unit, run),
        artifacts=artifacts.reading.listed(unit, ListIn(run_id=run.id, limit=_ARTIFACTS)),
        provenance=_provenance(unit, run), gates=gates_of(unit, run, live), preview_url=run.preview_url,
        last_event=seen,
    )  # fmt: skip


def _timeline(unit: Unit, run: Row, key: str, behind: int, limit: int) -> Timeline:
    rows = steps_of(unit, run.id, behind=behind, limit=limit + 1)
    page = rows[:limit]
    return Timeline(
        items=[as_step(row) for row in page], total=_total(unit, run), open=run.open_steps,
        next_cursor=encode_cursor(key, [page[-1].position]) if len(rows) > limit else None,
    )  # fmt: skip


def _total(unit: Unit, run: Row) -> int:
    """How many steps there are, as the first event of the run says it: nobody has to count them."""
    begun = read(unit, run.id, limit=1)
    if begun and isinstance(begun[0].payload.get("steps"), int):
        return int(begun[0].payload["steps"])
    return unit.execute(sa.select(sa.func.count()).where(steps.c.run_id == run.id)).scalar_one()


def _live(unit: Unit, run: Row) -> list[Row]:
    c = steps.c
    wanted = sa.select(steps).where(
        c.run_id == run.id, c.ready_at.is_not(None), c.ended_at.is_(None), c.status.in_(_GOING)
    )
    # What waits for people is found first, however many others there are.
    first = sa.case((c.status.in_(("waiting_approval", "waiting_input")), 0), else_=1)
    return list(unit.execute(wanted.order_by(first, c.position).limit(_LIVE)))


def _failed(unit: Unit, run: Row) -> list[Row]:
    c = steps.c
    wanted = sa.select(steps).where(c.run_id == run.id, c.error != "", c.status.in_(_BAD))
    return list(unit.execute(wanted.order_by(c.position).limit(_FAILED)))


def _brief(row: Row) -> Brief:
    return Brief(
        step_id=row.id, name=row.name, lane=row.lane, status=row.status, attempt=row.attempt, start=row.started_at,
        next_at=row.next_at, reason=row.reason, error=row.error,
    )  # fmt: skip


def gates_of(unit: Unit, run: Row, live: list[Row]) -> list[Gate]:
    """What waits for a person in these steps, and the last approvals of the run that were decided."""
    found: list[Gate] = []
    shown: set[str] = set()
    for row in live:
        if row.status == "waiting_input":
            found.append(_gate("question", row, question=row.waiting))
        elif row.status == "waiting_approval" and row.approval_id is not None:
            shown.add(row.approval_id)
            found.append(
                _gate("approval", row, approval_id=row.approval_id, approval=_approval(unit, row.approval_id))
            )
    for approval_id in [id_ for id_ in run.approvals if id_ not in shown][-_DECIDED:]:
        said = _approval(unit, approval_id)
        if said is not None:
            state, step_id = said["state"], said["step_id"]
            found.append(
                Gate(
                    kind="approval", step_id=step_id, name=None, state=state, approval_id=approval_id, question=None,
                    approval=said,
                )
            )  # fmt: skip
    return found


def _gate(kind: Literal["approval", "question"], row: Row, **values: Any) -> Gate:
    return Gate(
        **{"approval_id": None, "approval": None, "question": None, **values},
        kind=kind, step_id=row.id, name=row.name, state="waiting",
    )  # fmt: skip


def _approval(unit: Unit, id_: str) -> dict[str, Any] | None:
    """An approval without its diff, which has a page of its own; None where it is not known any more."""
    try:
        found = approvals.find(unit, id_)
    except Problem as problem:
        if problem.code != "not_found":
            raise
        return None
    said = found.model_dump(mode="json", exclude={"diff"})
    return said | {"link": approvals.link_to(unit.settings, id_)}


def _provenance(unit: Unit, run: Row) -> dict[str, Any]:
    lines = [ledger.lines_about(unit, run.id, type_=type_, limit=1) for type_ in ("run.started", "run.ended")]
    begun, over = (found[0]["seq"] if found else None for found in lines)
    return provenance_of(run) | {
        "input_fingerprint": run.input_fingerprint, "rerun_of": run.rerun_of, "parent_step_id": run.parent_step_id,
        "started_by": run.actor_id, "started_by_name": unit.get(Names).of(unit, [run.actor_id]).get(run.actor_id),
        "ledger": {"from_seq": begun, "to_seq": over},
    }  # fmt: skip
