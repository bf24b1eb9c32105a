"""What the steps of a run share, in one reply: what was made, what was decided and by whom, what is still open."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

import sqlalchemy as sa
from pydantic import Field

from builderos.assets.artifacts import service as artifacts
from builderos.assets.artifacts.schema import ArtifactPage, ListIn
from builderos.core.schema import In, Line, Out
from builderos.core.unit import Unit

from .model import steps
from .rows import Row
from .schema import RunStatus
from .seen import seen_run
from .view import Gate, gates_of

_MOST: Final = 200
_ARTIFACTS: Final = 50
_TEXT: Final = 2_000
_SAID: Final = ("choice", "verdict", "decision", "answer")
_WHY: Final = ("reasons", "reason", "summary", "text")
_WAITING: Final = ("waiting_approval", "waiting_input")


class ContextIn(In):
    """Which run."""

    id: Line


class Decision(Out):
    """What was decided in a run: chosen among proposals, judged, answered, or approved."""

    kind: Literal["choice", "verdict", "decision", "answer", "approval"]
    step_id: str | None
    name: Annotated[str | None, Field(description="The step.")]
    by: Annotated[str | None, Field(description="The agent, or the person.")]
    said: str
    why: str
    at: datetime | None


class RunContext(Out):
    """What a run shares."""

    run_id: str
    status: RunStatus
    decisions: Annotated[list[Decision], Field(description="As they were made, at most 200; then approvals.")]
    open_questions: Annotated[list[Gate], Field(description="What waits for a person.")]
    artifacts: Annotated[ArtifactPage, Field(description="The first 50.")]
    logs: Annotated[dict[str, str], Field(description="Step → where its log is, of those that decided.")]


def context(unit: Unit, body: ContextIn) -> RunContext:
    """The shared context of a run. Raises `not_found`."""
    run = seen_run(unit, body.id)
    c = steps.c
    told = sa.or_(*(c.result[name].astext.is_not(None) for name in _SAID))
    wanted = sa.select(steps).where(c.run_id == run.id, sa.or_(told, c.status.in_(_WAITING)))
    rows = list(unit.execute(wanted.order_by(c.position).limit(_MOST)))
    gates = gates_of(unit, run, [row for row in rows if row.status in _WAITING])
    approved = [gate for gate in gates if gate.state != "waiting"]
    ids = [gate.step_id for gate in approved if gate.step_id is not None]
    names = {row.id: row.name for row in unit.execute(sa.select(c.id, c.name).where(c.id.in_(ids)))}
    return RunContext(
        run_id=run.id, status=run.status,
        decisions=[
            *(_decision(row) for row in rows if _kind(row)),
            *(_approved(gate, names.get(gate.step_id or "")) for gate in approved),
        ],
        open_questions=[gate for gate in gates if gate.state == "waiting"],
        artifacts=artifacts.reading.listed(unit, ListIn(run_id=run.id, limit=_ARTIFACTS)),
        logs={row.name: row.logs_ref for row in rows if row.logs_ref},
    )  # fmt: skip


def _kind(row: Row) -> Any:
    return next((name for name in _SAID if row.result.get(name) is not None), None)


def _decision(row: Row) -> Decision:
    kind: Any = _kind(row)
    result: dict[str, Any] = row.result
    made_with: dict[str, Any] = result.get("made_with") or {}
    agent = str(made_with.get("agent", "")).partition("@")[0]
    why = next((str(result[name]) for name in _WHY if result.get(name)), "")
    return Decision(
        kind=kind, step_id=row.id, name=row.name, by=agent or result.get("answered_by"), said=str(result[kind])[:_TEXT],
        why=why[:_TEXT], at=row.ended_at,
    )  # fmt: skip


def _approved(gate: Gate, name: str | None) -> Decision:
    said: list[dict[str, Any]] = (gate.approval or {}).get("decisions") or []
    last = said[-1] if said else {}
    return Decision(
        kind="approval", step_id=gate.step_id, name=name, by=last.get("who"), said=gate.state,
        why=str(last.get("comment") or ""), at=last.get("when"),
    )  # fmt: skip
