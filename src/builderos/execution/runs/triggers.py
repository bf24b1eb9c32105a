"""Triggers: what starts runs by itself, each occasion one run, as who switched it on, with their rights at that time.

A trigger keeps the pipeline as it was when it was switched on: whoever changes the file on a branch does not thereby
act as somebody else.
"""

from typing import Any, Final

import sqlalchemy as sa

from builderos.assets.workspaces import service as workspaces
from builderos.core.ids import new_id
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy

from . import hooks, pipelines
from .definition import Definition, Trigger, next_after, parse
from .rows import actor_json
from .triggers_model import firings, triggers
from .triggers_schema import (
    TriggerIn,
    TriggerList,
    TriggerListIn,
    TriggerOff,
    TriggerOn,
    TriggerOut,
    TriggersOn,
    TriggersOnIn,
)

KINDS: Final = ("schedule", "push", "after", "webhook")
MAX_TRIGGERS: Final = 500


def switch_on(unit: Unit, body: TriggersOnIn) -> TriggersOn:
    """Put the triggers of a branch's pipeline in place of those that were on for it there.

    Raises `not_found`, `validation_failed` where the file has none that can be switched on, `quota_exceeded`.
    """
    policy.require(unit, "pipeline.trigger", policy.org_resource(unit))
    branch = workspaces.locate(unit, body, "run.start").branch
    content = workspaces.file_at(unit, branch, pipelines.file_of(body.name))
    if content is None:
        raise pipelines.not_found(body.name, None, on=f"the branch {branch.name}")
    known = {"actions": pipelines.known_actions(unit), "gates": pipelines.known_gates(unit)}
    definition = parse(content, name=body.name, **known)
    wanted = [trigger for trigger in definition.triggers if trigger.kind in KINDS]
    if not wanted:
        raise Problem(
            "validation_failed", f"{definition.ref} has no trigger of {', '.join(KINDS)}",
            hint='Write for example triggers: [manual, {schedule: "0 3 * * *"}].',
        )  # fmt: skip
    c = triggers.c
    here = sa.and_(c.pipeline == definition.name, c.repo_id == branch.repo_id, c.branch == branch.name)
    kept = _kept(unit, here, wanted)
    _remove(unit, sa.and_(here, c.id.not_in([row.id for row in kept.values()])))
    count = unit.execute(sa.select(sa.func.count()).select_from(triggers)).scalar_one()
    if count + len(wanted) - len(kept) > MAX_TRIGGERS:
        raise Problem(
            "quota_exceeded", f"{count} triggers are on; the limit is {MAX_TRIGGERS}",
            hint="Switch some off.", limit=MAX_TRIGGERS,
        )  # fmt: skip
    head, _ = ledger.stored_head(unit)
    rows: list[dict[str, Any]] = [
        {
            "id": kept[n].id if n in kept else new_id("trg"), "org_id": unit.org_id, "pipeline": definition.name,
            "version": definition.version,
            "content": content, "kind": trigger.kind, "spec": _spec(definition, trigger), "repo_id": branch.repo_id,
            "repo_name": branch.repo_name, "branch": branch.name, "actor": actor_json(unit.actor),
            "actor_id": unit.actor.id, "state": "active", "detail": "", "seq": head,
            "next_at": next_after(trigger.schedule, unit.now) if trigger.schedule else None, "created_at": unit.now,
        }
        for n, trigger in enumerate(wanted)
    ]  # fmt: skip
    secrets: dict[str, str] = {}
    for n, row in enumerate(rows):
        if n in kept:
            unit.execute(sa.update(triggers).where(c.id == row["id"]).values(row))
            continue
        if row["kind"] == "webhook":
            row["secret"], secrets[row["id"]] = hooks.make_secret(unit, row["id"])
        unit.execute(sa.insert(triggers).values(row))
    payload = {"pipeline": definition.ref, "digest": definition.digest, "repo": branch.repo_name,
               "repo_id": branch.repo_id, "branch": branch.name, "triggers": [row["spec"] for row in rows]}  # fmt: skip
    ledger.record(unit, "pipeline.triggers_on", rows[0]["id"], payload)
    found = unit.execute(sa.select(triggers).where(c.id.in_([row["id"] for row in rows])))
    message = f"{len(rows)} trigger{'s' if len(rows) > 1 else ''} of {definition.ref} now on."
    if secrets:
        message += " Save the secret now: it is not shown again."
    by_id = {row.id: row for row in found}
    items = [
        TriggerOn(**_out(unit, by_id[row["id"]]).model_dump(), secret=secrets.get(row["id"])) for row in rows
    ]
    return TriggersOn(items=items, message=message)


def _kept(unit: Unit, here: sa.ColumnElement[bool], wanted: list[Trigger]) -> dict[int, sa.Row[Any]]:
    """Webhooks that stay as they are, by their place in `wanted`: whoever has switched one on switches it on again,
    and its senders need no new address and no new secret. In anybody else's name the old secret counts for nothing.
    """
    c = triggers.c
    mine = sa.select(triggers).where(here, c.kind == "webhook", c.actor_id == unit.actor.id).order_by(c.id)
    rows = list(unit.execute(mine.with_for_update()))
    kept: dict[int, sa.Row[Any]] = {}
    for n, trigger in enumerate(wanted):
        row = next((row for row in rows if trigger.event == row.spec["event"]), None)
        if row is not None:
            rows.remove(row)
            kept[n] = row
    return kept


def listed(unit: Unit, body: TriggerListIn) -> TriggerList:
    """Triggers of the organisation, newest first."""
    policy.require(unit, "pipeline.trigger", policy.org_resource(unit))
    key = list_key("triggers", pipeline=body.pipeline)
    after = decode_cursor(key, body.cursor)
    wanted = sa.select(triggers).order_by(triggers.c.id.desc()).limit(body.limit + 1)
    if body.pipeline is not None:
        wanted = wanted.where(triggers.c.pipeline == body.pipeline)
    if after is not None:
        wanted = wanted.where(triggers.c.id < str(after[0]))
    rows = unit.execute(wanted).all()
    items = [_out(unit, row) for row in rows[: body.limit]]
    more = len(rows) > body.limit
    return TriggerList(items=items, next_cursor=encode_cursor(key, [items[-1].id]) if more else None)


def switch_off(unit: Unit, body: TriggerIn) -> TriggerOff:
    """Remove a trigger; runs that it has started go on. Raises `not_found`."""
    policy.require(unit, "pipeline.trigger", policy.org_resource(unit))
    if not _remove(unit, triggers.c.id == body.id):
        raise Problem("not_found", "there is no such trigger", hint="List the triggers first.")
    ledger.record(unit, "pipeline.trigger_off", body.id, {})
    return TriggerOff(id=body.id, message="The trigger is off.")


def _remove(unit: Unit, which: sa.ColumnElement[bool]) -> int:
    ids = list(unit.execute(sa.select(triggers.c.id).where(which).with_for_update()).scalars())
    if ids:
        unit.execute(sa.delete(firings).where(firings.c.trigger_id.in_(ids)))
        unit.execute(sa.delete(triggers).where(triggers.c.id.in_(ids)))
    return len(ids)


def _spec(definition: Definition, trigger: Trigger) -> dict[str, Any]:
    """The trigger as JSON; `after` knows the other pipeline by its name alone."""
    del definition
    kept = {
        "schedule": trigger.schedule, "event": trigger.event, "branches": list(trigger.branches),
        "paths": list(trigger.paths),
        "pipeline": trigger.pipeline, "statuses": list(trigger.statuses), "params": dict(trigger.params),
    }  # fmt: skip
    return {name: value for name, value in kept.items() if value}


def _out(unit: Unit, row: sa.Row[Any]) -> TriggerOut:
    return TriggerOut(
        id=row.id, pipeline_id=f"{row.pipeline}@{row.version}", kind=row.kind, spec=row.spec, repo_name=row.repo_name,
        branch=row.branch, actor=row.actor_id, state=row.state, detail=row.detail, next_at=row.next_at,
        last_at=row.last_at, last_run_id=row.last_run_id, created_at=row.created_at,
        hook=hooks.path_of(row.id) if row.kind == "webhook" else None,
        old_secret_until=row.old_until if row.old_until is not None and row.old_until > unit.now else None,
    )  # fmt: skip
