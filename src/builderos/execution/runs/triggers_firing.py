"""Firing triggers: every process looks, each occasion starts one run.

What happened is read off the ledger behind the calls that wrote it, so it is looked at after its commit and never lost.
The run, the mark of its occasion and the trigger's next time are one transaction; a second process finds the mark.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import Branch
from builderos.assets.workspaces import service as workspaces
from builderos.core.clock import rfc3339
from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.problems import Problem
from builderos.core.unit import Call, Unit, as_system, perform
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy

from . import starting
from .definition import any_fits, next_after, parse
from .rows import actor_of, find_run
from .triggers_model import firings, triggers
from .watching import each

log = logging.getLogger("builderos.runs")
DOOR: Final = "trigger"
_AT_ONCE: Final = 500  # lines of the ledger in one look
_READERS: Final = ("push", "after")  # kinds that learn from the ledger
_MOVES: Final = frozenset({"push", "merge", "commit", "rollback", "restore", "reset"})
GONE: Final = "who switched it on may not act any more"


@dataclass(frozen=True)
class Occasion:
    """Something that a trigger is about. `seq`: the ledger's line that tells of it."""

    trigger_id: str
    key: str
    branch: str
    about: dict[str, Any]
    seq: int | None = None
    at: datetime | None = None
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    stamp: int | None = None
    digest: str | None = None


def look(context: Context) -> None:
    """Fire what is due, in all organisations."""
    with context.get(Database).as_server() as connection:
        orgs = [str(row[0]) for row in connection.execute("select ops.trigger_orgs()")]
    each(orgs, lambda org_id: _look(context, org_id))


def _look(context: Context, org_id: str) -> None:
    occasions, head = as_system(context, org_id, _due, read_only=True)
    waits = False
    for occasion in occasions:
        waits |= not _fire(context, org_id, occasion)
    if head is not None and not waits:
        as_system(context, org_id, lambda unit: _looked(unit, head))


def _due(unit: Unit) -> tuple[list[Occasion], int | None]:
    """What has come about, in the order in which it did, and the line up to which was looked."""
    c = triggers.c
    rows = unit.execute(sa.select(triggers).where(c.state == "active").order_by(c.id)).all()
    found = [_tick(row) for row in rows if row.next_at is not None and row.next_at <= unit.now]
    watching = [row for row in rows if row.kind in _READERS]
    head, _ = ledger.stored_head(unit)
    after = min((row.seq for row in watching), default=head)
    if after >= head:
        return found, None
    upto = min(head, after + _AT_ONCE)
    for line in ledger.scan(unit, after=after, upto=upto, batch=_AT_ONCE):
        body = json.loads(line.body)
        news = [row for row in watching if row.seq < line.seq]
        found.extend(_of_line(unit, line.seq, body, news))
    return found, upto


def _tick(row: sa.Row[Any]) -> Occasion:
    about = {"type": "schedule", "at": rfc3339(row.next_at)}
    return Occasion(row.id, about["at"], row.branch, about, at=row.next_at)


def _of_line(unit: Unit, seq: int, body: dict[str, Any], rows: list[sa.Row[Any]]) -> Iterator[Occasion]:
    payload: dict[str, Any] = body["payload"]
    if body["type"] in _MOVES and not payload.get("run_id"):
        for row in rows:
            if row.kind == "push" and _moved(row, payload):
                about = {"type": "push", "branch": payload["branch"], "commit": body["object"], "seq": seq}
                yield Occasion(row.id, str(seq), payload["branch"], about, seq)
    elif body["type"] == "run.ended" and payload.get("kind") != "replay":
        name = str(payload.get("pipeline", "")).partition("@")[0]
        after = [row for row in rows if row.kind == "after" and row.spec["pipeline"] == name]
        for row in after:
            if payload["status"] in row.spec["statuses"] and not _goes_round(unit, body["object"], row.id):
                about = {"type": "after", "run_id": body["object"], "status": payload["status"], "seq": seq}
                yield Occasion(row.id, str(seq), row.branch, about, seq)


def _moved(row: sa.Row[Any], payload: dict[str, Any]) -> bool:
    if payload.get("repo_id") != row.repo_id or not any_fits(row.spec["branches"], [payload["branch"]]):
        return False
    return "paths" not in row.spec or any_fits(row.spec["paths"], payload.get("paths", ()))


def _goes_round(unit: Unit, run_id: str, trigger_id: str) -> bool:
    """Whether a run descends from this very trigger: pipelines that follow each other would never end."""
    for _ in range(20):
        trigger = find_run(unit, run_id).trigger
        if trigger.get("trigger_id") == trigger_id:
            return True
        if trigger.get("type") != "after":
            return False
        run_id = trigger["run_id"]
    return True


def _fire(context: Context, org_id: str, occasion: Occasion) -> bool:
    """Start the run of an occasion, or note why there is none; whether it is settled either way."""
    try:
        actor = as_system(context, org_id, lambda unit: _actor(unit, occasion), read_only=True)
        if actor is None:
            as_system(context, org_id, lambda unit: note(unit, occasion, GONE, stop=True))
            return True
        call = Call(actor, "valid", request_id=occasion.trigger_id, tool="trigger", door=DOOR)
        perform(context, call, lambda unit: start(unit, occasion))
    except Problem as problem:
        if problem.retryable:
            return False
        said = problem.detail
        log.info("the trigger %s started no run: %s", occasion.trigger_id, problem.code)
        as_system(context, org_id, lambda unit: note(unit, occasion, said, stop=False))
    return True


def _actor(unit: Unit, occasion: Occasion) -> Any:
    row = unit.execute(sa.select(triggers.c.actor).where(triggers.c.id == occasion.trigger_id)).one_or_none()
    return identity.still(unit, actor_of(row.actor)) if row is not None else None


def start(unit: Unit, occasion: Occasion) -> str | None:
    """As who switched it on: asks the policy, marks the occasion, starts the run and returns its id.

    None where the trigger is off, or another process has settled this occasion.
    """
    row = _held(unit, occasion)
    if row is None:
        return None
    branch = _branch(unit, row, occasion)
    policy.require(unit, "pipeline.trigger", policy.org_resource(unit))
    policy.require(unit, "run.start", workspaces.branch_resource(unit, branch))
    trigger = {"by": unit.actor.id, "trigger_id": row.id, **occasion.about}
    definition = parse(row.content)
    declared = {parameter.name for parameter in definition.params}
    brought = {name: value for name, value in occasion.params.items() if name in declared}
    run_id = starting.begin(unit, definition, {**row.spec.get("params", {}), **brought}, branch, trigger)
    _settle(unit, row, occasion, run_id, "")
    return run_id


def _branch(unit: Unit, row: sa.Row[Any], occasion: Occasion) -> Branch:
    branch = repositories.find_branch(unit, row.repo_id, occasion.branch)
    if branch is None or branch.state == "deleted":
        raise Problem("not_found", f"the branch {occasion.branch} is gone", hint="Switch the trigger off.")
    return branch


def _held(unit: Unit, occasion: Occasion) -> sa.Row[Any] | None:
    """The trigger, locked; None where it is off, or another process has settled this occasion."""
    c = triggers.c
    wanted = sa.select(triggers).where(c.id == occasion.trigger_id, c.state == "active").with_for_update()
    row = unit.execute(wanted).one_or_none()
    if row is None or (occasion.at is not None and row.next_at != occasion.at):
        return None
    known = sa.select(firings.c.run_id).where(
        firings.c.trigger_id == row.id, firings.c.occasion == occasion.key
    )
    return None if unit.execute(known).first() is not None else row


def note(unit: Unit, occasion: Occasion, detail: str, *, stop: bool, settle: bool = True) -> None:
    """Write down why an occasion has started no run. One that is not settled may come again."""
    row = _held(unit, occasion)
    if row is None:
        return
    mine = sa.update(triggers).where(triggers.c.id == row.id)
    if settle:
        _settle(unit, row, occasion, "", detail[:500])
    else:
        unit.execute(mine.values(detail=detail[:500], last_at=unit.now))
    if stop:
        unit.execute(mine.values(state="stopped"))
    payload = {"occasion": occasion.about, "detail": detail[:500], "stopped": stop}
    ledger.record(unit, "pipeline.trigger_failed", row.id, payload)


def _settle(unit: Unit, row: sa.Row[Any], occasion: Occasion, run_id: str, detail: str) -> None:
    values: dict[str, Any] = {"detail": detail, "last_at": unit.now, "last_run_id": run_id or row.last_run_id}
    if occasion.at is not None:  # what was missed while no server ran is made up for by one run
        values["next_at"] = next_after(row.spec["schedule"], unit.now)
    mark = insert(firings).values(
        org_id=unit.org_id,
        trigger_id=row.id,
        occasion=occasion.key,
        run_id=run_id,
        at=unit.now,
        stamp=occasion.stamp,
        digest=occasion.digest,
    )
    unit.execute(mark.on_conflict_do_nothing())
    unit.execute(sa.update(triggers).where(triggers.c.id == row.id).values(**values))


def _looked(unit: Unit, upto: int) -> None:
    """Go on behind this line next time."""
    c = triggers.c
    unit.execute(sa.update(triggers).where(c.kind.in_(_READERS), c.seq < upto).values(seq=upto))
