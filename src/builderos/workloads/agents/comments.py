"""What people say of lines that a run changed: kept with the run, and told to its agent all together."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

import sqlalchemy as sa
from pydantic import Field

from builderos.core.ids import new_id
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.schema import In, Line, Out, Text, WriteIn
from builderos.core.unit import Unit
from builderos.execution.runs import service as runs
from builderos.trust.ledger import service as ledger
from builderos.trust.vault import service as vault

from .model import comments, messages, sessions

_SHOWN: Final = 500


class LineComment(In):
    """A comment on one line, or on a file as a whole."""

    path: Annotated[Line, Field(min_length=1, description="File of the run's diff.")]
    side: Annotated[Literal["old", "new"], Field(description="The line as it was, or as it is now.")] = "new"
    line: Annotated[int | None, Field(ge=1, le=10**7, description="Number of the line; none: the file.")] = (
        None
    )
    snippet: Annotated[Text, Field(max_length=2_000, description="The line as you see it.")] = ""
    body: Annotated[Text, Field(min_length=1, max_length=5_000, description="What is to be said.")]


class CommentIn(WriteIn):
    """Comments on the lines that a run changed."""

    id: Annotated[Line, Field(description="Id of the run.")]
    items: Annotated[list[LineComment], Field(min_length=1, max_length=50)]


class Comment(Out):
    """One comment. `told_at`: when it was handed to the agent of `step_id`."""

    id: str
    path: str
    side: Literal["old", "new"]
    line: int | None
    snippet: str
    body: str
    author: str
    author_name: str
    said_at: datetime
    step_id: str | None
    told_at: datetime | None


class Commented(Out):
    """What becomes of the comments."""

    run_id: str
    items: list[Comment]
    step_id: Annotated[str | None, Field(description="Whose agent hears them before its next turn.")]
    message: str


class CommentListIn(In):
    """Comments of which run."""

    id: Annotated[Line, Field(description="Id of the run.")]
    limit: Annotated[int, Field(ge=1, le=200)] = 100
    cursor: Annotated[str | None, Field(description="Continue where the page before ended.")] = None


class CommentList(Out):
    """One page, oldest first."""

    items: list[Comment]
    next_cursor: str | None


def comment(unit: Unit, body: CommentIn) -> Commented:
    """Keep comments and tell the agent that works. Raises `not_found`."""
    run = runs.seen_run(unit, body.id)
    decision = runs.require(unit, "run.answer", run)
    kept = [_keep(unit, run.id, one) for one in body.items]
    step_id = _working(unit, run.id)
    if step_id is not None:
        hand_over(unit, run.id, step_id)
    payload: dict[str, Any] = {"comments": len(kept), "files": sorted({one.path for one in body.items})}
    if run.repo_name:
        payload |= {"repo": run.repo_name, "branch": run.branch}
    ledger.record(unit, "run.commented", run.id, payload, rules=decision.rules)
    said = "The agent hears them before its next turn." if step_id else _WAITS
    return Commented(
        run_id=run.id, items=_shown(_rows(unit, comments.c.id.in_(kept))), step_id=step_id, message=said
    )


_WAITS: Final = (
    "No agent works now: the next one hears them that begins in this run, or in one that runs it again."
)


def listed(unit: Unit, body: CommentListIn) -> CommentList:
    """What was said of a run's lines. Raises `not_found`."""
    run = runs.seen_run(unit, body.id)
    key = list_key("run comments", run=run.id)
    last = decode_cursor(key, body.cursor)
    where = [comments.c.run_id == run.id]
    if last is not None:
        where.append(comments.c.n > int(last[0]))
    rows = _rows(unit, *where, limit=body.limit + 1)
    page = rows[: body.limit]
    more = len(rows) > body.limit
    return CommentList(items=_shown(page), next_cursor=encode_cursor(key, [page[-1].n]) if more else None)


def hand_over(unit: Unit, run_id: str, step_id: str) -> None:
    """Tell the agent of a step, in one message, what nobody was told yet: of its run, and of the one that this run does
    again.
    """
    c = comments.c
    told = sa.update(comments).where(
        c.org_id == unit.org_id, c.run_id.in_(runs.line_of(unit, run_id)), c.told_at.is_(None)
    )
    rows = unit.execute(told.values(step_id=step_id, told_at=unit.now).returning(*comments.c)).all()
    if rows:
        leave(unit, step_id, run_id, _message(sorted(rows, key=lambda row: row.n)))


def leave(unit: Unit, step_id: str, run_id: str, body: str) -> None:
    """Leave a message for the agent of a step: it hears it before its next turn."""
    unit.execute(
        sa.insert(messages).values(
            org_id=unit.org_id, step_id=step_id, run_id=run_id, author=unit.actor.member_id or unit.actor.id,
            body=vault.clean_text(unit, body), said_at=unit.now,
        )
    )  # fmt: skip


def _keep(unit: Unit, run_id: str, one: LineComment) -> str:
    id_ = new_id("cmt")
    unit.add(
        comments, org_id=unit.org_id, id=id_, run_id=run_id, path=one.path, side=one.side, line=one.line,
        snippet=vault.clean_text(unit, one.snippet), body=vault.clean_text(unit, one.body),
        author=unit.actor.member_id or unit.actor.id, author_name=unit.actor.name, said_at=unit.now,
        step_id=None, told_at=None,
    )  # fmt: skip
    return id_


def _working(unit: Unit, run_id: str) -> str | None:
    """The step in which an agent works now."""
    c = sessions.c
    wanted = sa.select(c.step_id).where(c.org_id == unit.org_id, c.run_id == run_id, c.state == "open")
    for step_id in unit.execute(wanted.order_by(c.started_at.desc()).limit(10)).scalars():
        _, step = runs.seen_step(unit, step_id)
        if step.ended_at is None:
            return step_id
    return None


def _rows(unit: Unit, *where: sa.ColumnElement[bool], limit: int = _SHOWN) -> list[Any]:
    c = comments.c
    wanted = sa.select(comments).where(c.org_id == unit.org_id, *where).order_by(c.n).limit(limit)
    return list(unit.execute(wanted))


def _shown(rows: list[Any]) -> list[Comment]:
    return [
        Comment(
            id=row.id, path=row.path, side=row.side, line=row.line, snippet=row.snippet, body=row.body,
            author=row.author, author_name=row.author_name, said_at=row.said_at, step_id=row.step_id,
            told_at=row.told_at,
        )
        for row in rows
    ]  # fmt: skip


def _message(rows: list[Any]) -> str:
    """All comments as one message. What was quoted is marked as such: it is content, not the commenter's words."""
    parts = [f"Comments on lines of what this run changed ({len(rows)}). Work on each of them."]
    for row in rows:
        where = f"{row.path}:{row.line}" if row.line else row.path
        quoted = "".join(f"\n> {line}" for line in row.snippet.splitlines())
        before = " (as it was before)" if row.side == "old" else ""
        parts.append(f"{where}{before}, {row.author_name} says:{quoted}\n{row.body}")
    return "\n\n".join(parts)
