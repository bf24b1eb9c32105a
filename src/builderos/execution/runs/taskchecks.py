"""Checks of delivery tasks: behind a commit that names a task with a `check`, the pipeline of that name, or the command
that it is, is run over it.

Nothing of this is on the way of the commit: what happened is read off the ledger. A run that fails takes the commit
back, as whoever made it; each commit is looked at once, however many servers look.
"""

import functools
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import Branch
from builderos.assets.workspaces import service as workspaces
from builderos.core.actor import Actor
from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.core.unit import Call, Unit, as_system, perform
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger
from builderos.trust.notices import service as notices
from builderos.trust.policy import service as policy

from . import sources, starting
from .callers import Callers
from .definition import Definition, parse
from .rows import find_run
from .taskchecks_model import check_cursors, task_checks

log = logging.getLogger("builderos.runs")
KIND: Final = "check"
ALERT: Final = "task_check_failed"
DOOR: Final = "check"
COMMAND: Final = "run:"  # before a command, as steps have it; anything else is a pipeline's name
_AT_ONCE: Final = 500
_NEWS: Final = {"commit": '"task_id":"', "run.ended": '"kind":"check"'}
_NO: Final = frozenset({"failed", "timed_out"})
Line = tuple[int, dict[str, Any]]


@dataclass(frozen=True)
class Subject:
    """A commit of a task, and the check that decides about it."""

    branch: Branch  # as it was with that commit
    task_id: str
    check: str
    definition: Definition | None  # None: no pipeline has this name
    actor: Actor | None  # who made the commit, with the rights of now
    fault: str  # why the pipeline cannot be read

    @property
    def key(self) -> dict[str, Any]:
        """What tells it from others."""
        return {"branch_id": self.branch.id, "commit_sha": self.branch.tip}


def look(context: Context) -> None:
    """Start the checks of commits that are new, and act on those that have ended, in all organisations."""
    with context.get(Database).as_server() as connection:
        orgs = [str(row[0]) for row in connection.execute("select ops.check_orgs()")]
    for org_id in orgs:
        while _look_in(context, org_id):
            pass


def _look_in(context: Context, org_id: str) -> bool:
    """The next lines of one organisation; whether there may be more."""
    lines, upto, more = as_system(context, org_id, _news, read_only=True)
    for seq, body in lines:
        try:
            if body["type"] == "commit":
                _begin(context, org_id, body)
            else:
                _decide(context, org_id, body["object"], body["payload"]["status"])
        except Exception as error:
            if isinstance(error, Problem) and error.retryable:  # looked at again with the next news
                return False
            # One commit that cannot be looked at must not keep all later ones from it.
            log.exception("the check of line %d of %s was given up", seq, org_id)
            told = {"line": seq, "commit": body["object"], "decided": False, "why": type(error).__name__}
            as_system(
                context,
                org_id,
                lambda unit, told=told: notices.raise_alert(unit, ALERT, f"line {told['line']}", told),
            )
    as_system(context, org_id, lambda unit: _looked(unit, upto))
    return more


def _news(unit: Unit) -> tuple[list[Line], int, bool]:
    after = unit.execute(sa.select(check_cursors.c.seq)).scalar_one_or_none() or 0
    head, _ = ledger.stored_head(unit)
    upto = min(head, after + _AT_ONCE)
    return ledger.lines_with(unit, _NEWS, after=after, upto=upto), upto, upto < head


def _looked(unit: Unit, upto: int) -> None:
    new = insert(check_cursors).values(org_id=unit.org_id, seq=upto)
    c = check_cursors.c
    further = {"seq": sa.func.greatest(c.seq, new.excluded.seq)}
    unit.execute(new.on_conflict_do_update(index_elements=["org_id"], set_=further))


# ------------------------------------------------------------ a commit


def _begin(context: Context, org_id: str, body: Mapping[str, Any]) -> None:
    subject = as_system(context, org_id, lambda unit: _subject(unit, body), read_only=True)
    if subject is None or (subject.definition is None and not subject.fault):
        return  # no check, or one that is somebody else's: they say `fail` themselves
    if subject.definition is None or subject.actor is None:
        why = subject.fault or "who made the commit may not act any more"
        as_system(context, org_id, lambda unit: _undecided(unit, subject, why))
        return
    call = Call(subject.actor, "valid", request_id=new_id("req"), tool="check@1", door=DOOR)
    try:
        perform(context, call, functools.partial(_start, subject, subject.definition))
    except Problem as problem:
        if problem.retryable:
            raise
        why = problem.detail
        as_system(context, org_id, lambda unit: _undecided(unit, subject, why))


def _subject(unit: Unit, body: Mapping[str, Any]) -> Subject | None:
    told: dict[str, Any] = body["payload"]
    branch = repositories.find_branch(unit, told["repo_id"], told["branch"])
    if branch is None or branch.state == "deleted" or _made_by_check(unit, told.get("run_id")):
        return None
    then = replace(branch, tip=str(body["object"]))
    check = workspaces.check_of(unit, then, told["task_id"])
    if check is None:
        return None
    definition, fault = None, ""
    try:
        definition = _command(check) if check.startswith(COMMAND) else sources.find(unit, check, then)
    except Problem as problem:
        fault = problem.detail if problem.code != "not_found" else ""
    actor = identity.standing_in(unit, body["actor"], branch.name)
    return Subject(then, told["task_id"], check, definition, actor, fault)


def _command(check: str) -> Definition:
    """A pipeline of one step for a check that is a command. Raises `validation_failed`."""
    command = check.removeprefix(COMMAND).strip()
    if not command:
        raise Problem(
            "validation_failed", f"the check `{check}` says no command", hint="Write it behind `run:`."
        )
    step = {"id": "check", "run": command}
    return parse(json.dumps({"name": KIND, "steps": [step]}), name=KIND)


def _made_by_check(unit: Unit, run_id: str | None) -> bool:
    """Whether a check, or a replay, made this commit itself: it would be looked at for ever."""
    return run_id is not None and find_run(unit, run_id).kind in (KIND, "replay")


def _start(subject: Subject, definition: Definition, unit: Unit) -> None:
    """As who made the commit: asks the policy, marks the commit, starts the run over its files."""
    policy.require(unit, "run.start", workspaces.branch_resource(unit, subject.branch))
    if not _mark(unit, subject, "running"):
        return
    trigger = {
        "type": KIND, "by": unit.actor.id, "task_id": subject.task_id, "check": subject.check,
        "commit": subject.branch.tip,
    }  # fmt: skip
    run_id = starting.begin(unit, definition, {}, subject.branch, trigger, kind=KIND)
    unit.execute(sa.update(task_checks).where(*_same(subject)).values(run_id=run_id))


def _mark(unit: Unit, subject: Subject, state: str, detail: str = "") -> bool:
    """Whether nobody has looked at this commit before."""
    values: dict[str, Any] = {
        "org_id": unit.org_id, **subject.key, "task_id": subject.task_id, "name": subject.check, "state": state,
        "detail": detail, "created_at": unit.now, "decided_at": unit.now if state != "running" else None,
    }  # fmt: skip
    new = insert(task_checks).values(values).on_conflict_do_nothing().returning(task_checks.c.commit_sha)
    return unit.execute(new).first() is not None


def _same(subject: Subject) -> tuple[sa.ColumnElement[bool], ...]:
    c = task_checks.c
    return c.branch_id == subject.branch.id, c.commit_sha == subject.branch.tip


def _undecided(unit: Unit, subject: Subject, why: str) -> None:
    """No run could be started: the commit stays, and somebody has to look."""
    if not _mark(unit, subject, "undecided", why[:500]):
        return
    branch = subject.branch
    told = {"task_id": subject.task_id, "check": subject.check, "commit": branch.tip, "repo": branch.repo_name,
            "branch": branch.name, "decided": False, "why": why[:500]}  # fmt: skip
    notices.raise_alert(unit, ALERT, f"{branch.name} {subject.task_id}", told)
    ledger.record(unit, "task.check_undecided", branch.tip, told | {"repo_id": branch.repo_id})


# ------------------------------------------------------------ a check that has ended


def _decide(context: Context, org_id: str, run_id: str, status: str) -> None:
    row = as_system(context, org_id, lambda unit: _open(unit, run_id), read_only=True)
    if row is None:
        return
    if status == "succeeded":
        as_system(context, org_id, lambda unit: _settle(unit, run_id, "passed"))
        return
    if status not in _NO:
        why = f"its run ended {status}"
        as_system(context, org_id, lambda unit: _without_verdict(unit, run_id, why))
        return
    try:
        caller = context.get(Callers).of(context, org_id, run_id)
        call = replace(caller, request_id=new_id("req"), tool="check@1", door=DOOR)
        perform(context, call, functools.partial(_take_back, run_id, status))
    except Problem as problem:
        if problem.retryable:
            raise
        why = f"it {status.replace('_', ' ')}, and the commit could not be taken back: {problem.detail}"
        as_system(context, org_id, lambda unit: _without_verdict(unit, run_id, why))


def _open(unit: Unit, run_id: str, *, lock: bool = False) -> sa.Row[Any] | None:
    c = task_checks.c
    wanted = sa.select(task_checks).where(c.run_id == run_id, c.state == "running")
    return unit.execute(wanted.with_for_update() if lock else wanted).one_or_none()


def _settle(unit: Unit, run_id: str, state: str, *, detail: str = "", reverted_by: str | None = None) -> None:
    mine = sa.update(task_checks).where(task_checks.c.run_id == run_id)
    unit.execute(mine.values(state=state, detail=detail[:500], reverted_by=reverted_by, decided_at=unit.now))


def _take_back(run_id: str, status: str, unit: Unit) -> None:
    """As who made the commit: the task has failed, and its commit is undone, where nothing is in the way."""
    row, run = _open(unit, run_id, lock=True), find_run(unit, run_id)
    if row is None:
        return
    why = f"The check {row.name} of commit {row.commit_sha[:12]} {status.replace('_', ' ')} in {run_id}"
    if run.detail:
        why += f": {run.detail[:300]}"
    done = workspaces.check_failed(
        unit, row.branch_id, row.task_id, row.commit_sha, check=row.name, reason=why
    )
    _settle(unit, run_id, "failed", detail=done.why, reverted_by=done.reverted_by)
    told = _told(row, run) | {
        "decided": True,
        "reverted_by": done.reverted_by,
        "task_failed": done.task_failed,
    }
    if done.why:
        told["why"] = done.why[:500]
    notices.raise_alert(unit, ALERT, f"{run.branch} {row.task_id}", told)
    ledger.record(unit, "task.check_failed", row.commit_sha, told | {"repo_id": run.repo_id})


def _without_verdict(unit: Unit, run_id: str, why: str) -> None:
    row, run = _open(unit, run_id, lock=True), find_run(unit, run_id)
    if row is None:
        return
    _settle(unit, run_id, "undecided", detail=why)
    told = _told(row, run) | {"decided": False, "why": why[:500]}
    notices.raise_alert(unit, ALERT, f"{run.branch} {row.task_id}", told)
    ledger.record(unit, "task.check_undecided", row.commit_sha, told | {"repo_id": run.repo_id})


def _told(row: sa.Row[Any], run: Any) -> dict[str, Any]:
    return {"task_id": row.task_id, "check": row.name, "commit": row.commit_sha, "run_id": row.run_id,
            "repo": run.repo_name, "branch": run.branch}  # fmt: skip
