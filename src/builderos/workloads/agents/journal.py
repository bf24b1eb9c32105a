"""The journal of a session: what a model said and a tool did, so that no finished call is made twice.

The loop is carried out again from its beginning after every interruption. Each call it makes has the number that it had
before; where the journal has the result, that is the result, and nothing else happens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

import sqlalchemy as sa
from psycopg.types.json import Jsonb

from builderos.core.steps import Work
from builderos.core.unit import Unit
from builderos.execution.runs import service as runs

from . import comments
from .model import calls, messages, sessions

Kind = Literal["model", "tool"]
Status = Literal["begun", "waiting", "done", "failed", "refused"]
ENDED: Final = frozenset({"done", "failed", "refused"})


@dataclass(frozen=True, slots=True)
class Session:
    """One session of a step. `outcome` where attempt `attempt` has ended it."""

    step_id: str
    run_id: str
    number: int
    agent: str
    spec: Mapping[str, Any]
    tree: str
    state: str
    attempt: int | None
    outcome: Mapping[str, Any] | None

    @property
    def name(self) -> str:
        """What calls of this session are named after."""
        return f"{self.step_id}.{self.number}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One call. `response` is JSON: of a model its reply, of a tool `{"text": …}` and what else it tells."""

    n: int
    kind: Kind
    name: str
    digest: str
    request: Mapping[str, Any]
    status: Status
    response: Mapping[str, Any] | None = None
    tree: str | None = None
    usage: Mapping[str, Any] = field(default_factory=dict[str, Any])
    decision: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def is_over(self) -> bool:
        """Whether there is a result."""
        return self.status in ENDED


def all_of(unit: Unit, step_id: str) -> list[Session]:
    """All sessions of a step, the first one first."""
    c = sessions.c
    wanted = sa.select(sessions).where(c.org_id == unit.org_id, c.step_id == step_id).order_by(c.number)
    return [_session(row) for row in unit.execute(wanted)]


def newest(unit: Unit, step_id: str) -> Session | None:
    """The latest session of a step."""
    c = sessions.c
    wanted = sa.select(sessions).where(c.org_id == unit.org_id, c.step_id == step_id)
    row = unit.execute(wanted.order_by(c.number.desc()).limit(1)).one_or_none()
    return None if row is None else _session(row)


def _session(row: Any) -> Session:
    return Session(
        row.step_id,
        row.run_id,
        row.number,
        row.agent,
        row.spec,
        row.tree,
        row.state,
        row.attempt,
        row.outcome,
    )


def begin(unit: Unit, work: Work, agent: str, spec: Mapping[str, Any], number: int) -> Session:
    """Open a session."""
    tree = work.input_tree or work.base_tree or ""
    unit.execute(
        sa.insert(sessions).values(
            org_id=unit.org_id, step_id=work.step_id, number=number, run_id=work.run_id, agent=agent, spec=dict(spec),
            tree=tree, state="open", model_calls=0, tool_calls=0, input_tokens=0, output_tokens=0, cost=0.0,
            started_at=unit.now,
        )
    )  # fmt: skip
    comments.hand_over(unit, work.run_id, work.step_id)
    return Session(work.step_id, work.run_id, number, agent, dict(spec), tree, "open", None, None)


def end(unit: Unit, session: Session, attempt: int, outcome: Mapping[str, Any]) -> None:
    """Close a session: this attempt has an outcome."""
    values: dict[str, Any] = {
        "state": "ended", "attempt": attempt, "outcome": dict(outcome), "ended_at": unit.now,
        "tool_calls": int(outcome.get("usage", {}).get("tool_calls", 0)),
    }  # fmt: skip
    unit.execute(sa.update(sessions).where(*_is(unit, session), sessions.c.state == "open").values(**values))


def entries(unit: Unit, session: Session) -> list[Entry]:
    """All calls of a session, in their order."""
    c = calls.c
    wanted = sa.select(calls).where(
        c.org_id == unit.org_id, c.step_id == session.step_id, c.session == session.number
    )
    return [entry_of(row) for row in unit.execute(wanted.order_by(c.n))]


def entry_of(row: Any) -> Entry:
    """The entry of a row."""
    return Entry(
        row.n,
        row.kind,
        row.name,
        row.digest,
        row.request,
        row.status,
        row.response,
        row.tree,
        row.usage,
        row.decision,
    )


def note(unit: Unit, session: Session, entry: Entry) -> None:
    """Write an entry that was not there, e.g. right before the call. It travels with the unit's commit."""
    unit.add(
        calls, org_id=unit.org_id, step_id=session.step_id, session=session.number, n=entry.n, run_id=session.run_id,
        kind=entry.kind, name=entry.name, digest=entry.digest, request=dict(entry.request), status=entry.status,
        response=None if entry.response is None else dict(entry.response), tree=entry.tree, usage=dict(entry.usage),
        decision=dict(entry.decision), begun_at=unit.now, ended_at=unit.now if entry.is_over else None,
    )  # fmt: skip


def change(unit: Unit, session: Session, entry: Entry) -> None:
    """Write how a call stands now, and count what a model used. What has a result keeps it: the commit raises
    `conflict` then.
    """
    response = None if entry.response is None else Jsonb(dict(entry.response))
    unit.send(
        "ops.change_agent_call", session.step_id, session.number, entry.n, entry.status, response, entry.tree,
        Jsonb(dict(entry.usage)), Jsonb(dict(entry.decision)), unit.now if entry.is_over else None,
    )  # fmt: skip


def ask_again(unit: Unit, session: Session, entry: Entry) -> Entry:
    """A call of a model without a result is made once more, with what was said meanwhile."""
    c = calls.c
    unit.execute(
        sa.update(calls)
        .where(
            c.org_id == unit.org_id, c.step_id == session.step_id, c.session == session.number, c.n == entry.n,
            c.status == "begun",
        )
        .values(request=dict(entry.request))
    )  # fmt: skip
    return entry


@dataclass(frozen=True, slots=True)
class Standing:
    """What has to be known before a model is asked: who wants the session to stop, whether something was said that
    nobody heard, and what all agents of the run have used."""

    interrupted_by: str | None
    unheard: bool
    tokens: int
    cost: float


def standing(unit: Unit, session: Session) -> Standing:
    """How a session stands, at one stroke."""
    ((by, unheard, tokens, cost),) = unit.ask(
        "ops.agent_standing", session.step_id, session.number, session.run_id
    )
    return Standing(by, unheard, tokens, cost)


# -------------------------------------------------------------------- people


def say(unit: Unit, step_id: str, run_id: str, body: str) -> None:
    """Leave a message for the agent of a step: it hears it before its next turn."""
    comments.leave(unit, step_id, run_id, body)


def hear(unit: Unit, session: Session, n: int) -> list[str]:
    """What was said since the last turn; from now on it belongs to call `n`."""
    c = messages.c
    unheard = sa.update(messages).where(
        c.org_id == unit.org_id, c.step_id == session.step_id, c.session.is_(None)
    )
    rows = unit.execute(unheard.values(session=session.number, n=n).returning(c.id, c.body)).all()
    return [row.body for row in sorted(rows, key=lambda row: row.id)]


def interrupt(unit: Unit, step_id: str) -> bool:
    """Have the open session of a step stop before its next call; False where there is none."""
    who = unit.actor.member_id or unit.actor.id
    c = sessions.c
    found = sa.update(sessions).where(c.org_id == unit.org_id, c.step_id == step_id, c.state == "open")
    return bool(unit.execute(found.values(interrupted_by=who)).rowcount)


def interrupted(unit: Unit, session: Session) -> str | None:
    """Who wants the session to stop."""
    wanted = sa.select(sessions.c.interrupted_by).where(*_is(unit, session))
    return unit.execute(wanted).scalar_one_or_none()


def go_on(unit: Unit, session: Session) -> None:
    """Nobody wants the session to stop any more."""
    unit.execute(sa.update(sessions).where(*_is(unit, session)).values(interrupted_by=None))


def _is(unit: Unit, session: Session) -> Sequence[sa.ColumnElement[bool]]:
    return (
        sessions.c.org_id == unit.org_id,
        sessions.c.step_id == session.step_id,
        sessions.c.number == session.number,
    )


def storable(value: Any) -> Any:
    """JSON as the database takes it: what it cannot hold in texts (NUL, halves of characters) is replaced.

    To be done before anybody works with a value: replayed, it is what it was.
    """
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return {storable(str(key)): storable(item) for key, item in items}
    if isinstance(value, list | tuple):
        return [storable(item) for item in cast("Sequence[Any]", value)]
    return value


def digest_of(name: str, request: Mapping[str, Any]) -> str:
    """`sha256:…` of what is asked of whom. Raises `ValueError` for what is no JSON."""
    return runs.digest({"name": name, "request": dict(request)})
