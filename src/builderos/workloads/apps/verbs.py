"""Making apps, changing them, stopping and starting them."""

from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.assets.repositories import service as repositories
from builderos.core.ids import new_id
from builderos.core.operations import Reply
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.engine import signals
from builderos.engine.service import Engine
from builderos.execution.compute import service as compute
from builderos.execution.compute.service import SandboxProviders
from builderos.execution.serving.service import badges
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy

from . import kinds, reading, rows
from .keeping import Keeper
from .model import apps, tokens
from .schema import App, AppActIn, AppChangeIn, AppCreateIn, Health, OpenPolicy, Source, Type

IDLE_S = 1800
_TEXTS = ("command", "build", "base_path")
_LISTS = ("secrets", "network", "endpoints", "models")


def may(unit: Unit, action: policy.Action, place: tuple[str, str] | None = None) -> tuple[str, ...]:
    """Ask the policy about apps; the rules that allow it."""
    where = policy.org_resource(unit)
    if place is not None:
        where = replace(where, lies_in=(place[0],), project=place[1])
    return policy.require(unit, action, where).rules


def place_of(row: rows.Row) -> tuple[str, str]:
    """Id and name of the repository that an app is made from: rules for that bind the app, too."""
    return row.repo_id, row.repo_name


def managed(unit: Unit, id_: str) -> tuple[rows.Row, tuple[str, ...]]:
    """An app that the actor may manage, and the rules that say so. Raises `Refused`, `not_found`."""
    may(unit, "app.manage")
    row = rows.find(unit, id_, lock=True)
    return row, may(unit, "app.manage", place_of(row))


def create(unit: Unit, body: AppCreateIn) -> Reply[App]:
    """A new app, of which nothing is served yet.

    Raises `not_found` for the repository, `conflict` where the name is taken, `runtime_not_approved`,
    `validation_failed`, `quota_exceeded`.
    """
    may(unit, "app.manage")  # first: whoever may have none learns of no repository
    given = body.policy or OpenPolicy()
    _check_open(unit, given)
    repo = repositories.find_repository(unit, body.source.repo_name)
    rules = may(unit, "app.manage", (repo.id, repo.name))
    said = {name: getattr(body, name) or "" for name in (*_TEXTS, "runtime", "profile")}
    said |= {"env": body.env or {}} | {name: getattr(body, name) or [] for name in _LISTS}
    spec = _spec(unit, body.type, repo.id, body.source, said, body.health)
    _check_quota(unit)
    values: dict[str, Any] = {
        "id": new_id("app"), "org_id": unit.org_id, "name": body.name, "type": body.type, "repo_id": repo.id,
        "repo_name": repo.name, "spec": spec, "policy": given.model_dump(), "asleep": False, "state": "active",
        "idle_timeout": IDLE_S if body.idle_timeout is None else body.idle_timeout, "numbers": 0,
        "machine": unit.get(SandboxProviders).place, "created_by": unit.actor.id, "created_at": unit.now,
        "updated_at": unit.now,
    }  # fmt: skip
    row = unit.execute(
        insert(apps).values(values).on_conflict_do_nothing().returning(apps)
    ).one_or_none()  # fmt: skip
    if row is None:
        raise Problem(
            "conflict", f"there is an app {body.name} already", hint="Choose another name.", conflicts=[]
        )
    rows.told(unit, row.id, "app.created", name=row.name)
    ledger.record(
        unit, "app.created", row.id, {"name": row.name, "type": row.type, "policy": row.policy}, rules=rules
    )
    return Reply(201, reading.shown(unit, row))


def change(unit: Unit, body: AppChangeIn) -> App:
    """Another policy or timeout at once, anything else from the next release on. Raises like `create`."""
    row, rules = managed(unit, body.id)
    values: dict[str, Any] = {}
    if body.policy is not None:
        _check_open(unit, body.policy, OpenPolicy.model_validate(row.policy))
        values["policy"] = body.policy.model_dump()
        unit.execute(sa.delete(tokens).where(tokens.c.app_id == row.id))
    if body.idle_timeout is not None:
        values["idle_timeout"] = body.idle_timeout
    repo_id, repo_name = row.repo_id, row.repo_name
    if body.source is not None:
        repo = repositories.find_repository(unit, body.source.repo_name)
        may(unit, "app.manage", (repo.id, repo.name))
        repo_id, repo_name = repo.id, repo.name
        values |= {"repo_id": repo_id, "repo_name": repo_name}
    names = (*_TEXTS, "runtime", "profile", "env", *_LISTS)
    given = {name: value for name in names if (value := getattr(body, name)) is not None}
    if given or body.source is not None or body.health is not None:
        before = row.spec | {"command": row.spec["said"], "build": row.spec["said_build"]}
        source = body.source or Source.model_validate(row.spec["source"])
        health = body.health or Health.model_validate(row.spec["health"])
        values["spec"] = _spec(unit, row.type, repo_id, source, before | given, health)
        badges.narrow(unit, row.id, badges.Calls.of(values["spec"]))  # what is named no more ends at once
    if values:
        rows.change(unit, row.id, updated_at=unit.now, **values)
        rows.told(unit, row.id, "app.changed", what=sorted(values))
        ledger.record(unit, "app.changed", row.id, {"name": row.name, **values}, rules=rules)
        tell(unit, row.id, "changed")
    return reading.shown(unit, rows.find(unit, row.id))


def stop(unit: Unit, body: AppActIn) -> App:
    """Serve nothing of it any more; what is live comes back with `start`."""
    row, rules = managed(unit, body.id)
    if row.state == "active":
        _ended(unit, row, "stopped", rules)
    return reading.shown(unit, rows.find(unit, row.id))


def start(unit: Unit, body: AppActIn) -> Reply[App]:
    """Serve again what was live when it was stopped. Raises `quota_exceeded`, `budget_exceeded`,
    `illegal_transition`.
    """
    row, rules = managed(unit, body.id)
    if row.state != "stopped":
        raise Problem("illegal_transition", "this app is not stopped", hint="Release something.", allowed=[])
    _check_quota(unit)
    compute.require_budget(unit, row.repo_id, row.spec["runtime"], row.spec["profile"])
    here = unit.get(SandboxProviders).place
    rows.change(unit, row.id, state="active", asleep=False, machine=here, updated_at=unit.now)
    if row.current_id is not None:
        rows.again(unit, row.current_id)
    rows.told(unit, row.id, "app.started")
    ledger.record(unit, "app.started", row.id, {"name": row.name}, rules=rules)
    tell(unit, row.id, "start")
    return Reply(202, reading.shown(unit, rows.find(unit, row.id)))


def delete(unit: Unit, body: AppActIn) -> App:
    """Stop it for good; its name is free again. Releases and logs stay for the audit."""
    row, rules = managed(unit, body.id)
    gone = reading.shown(unit, row).model_copy(
        update={"state": "deleted", "standing": "stopped", "url": None}
    )
    _ended(unit, row, "deleted", rules)
    return gone


def _ended(unit: Unit, row: rows.Row, state: str, rules: tuple[str, ...]) -> None:
    rows.change(unit, row.id, state=state, asleep=False, updated_at=unit.now)
    for one in rows.under_way(unit, row.id):
        rows.change_release(unit, one.id, status="stopped", reason=state, ended_at=unit.now)
    unit.execute(sa.delete(tokens).where(tokens.c.app_id == row.id))
    badges.revoke(unit, row.id)
    rows.told(unit, row.id, f"app.{state}")
    ledger.record(unit, f"app.{state}", row.id, {"name": row.name}, rules=rules)
    tell(unit, row.id, "stop")


def tell(unit: Unit, app_id: str, what: str, release_id: str = "-") -> None:
    """This process and all others, once this unit is durable."""
    about = f"{unit.org_id} {app_id} {what} {release_id}"
    keeper = unit.get(Keeper)
    if Engine in unit.context:  # else this process begins nothing that goes on behind its requests
        unit.after_commit(lambda: keeper.heard(about))
    signals.tell(unit, rows.WORD, about)


def _spec(
    unit: Unit, type_: Type, repo_id: str, source: Source, said: dict[str, Any], health: Health | None
) -> dict[str, Any]:
    """How it is built, started and looked at. `said`: command and build are what somebody said, not what follows."""
    kinds.check(source, said["env"], said["secrets"], said["network"])
    reaches = badges.checked(unit, badges.Calls.of(said))
    runtime, _, profile = compute.runtime_of(unit, repo_id, said["runtime"], said["profile"])
    return {
        "type": type_, "source": source.model_dump(), "said": said["command"],
        "said_build": said["build"], "build": kinds.build_of(type_, source, said["build"], said["command"]),
        "command": kinds.command_of(type_, source, said["command"]), "runtime": runtime, "profile": profile,
        "env": dict(said["env"]), **{name: list(said[name]) for name in _LISTS}, "reaches": reaches,
        "health": kinds.health_of(type_, health).model_dump(), "base_path": said["base_path"],
    }  # fmt: skip


def _check_open(unit: Unit, wanted: OpenPolicy, before: OpenPolicy | None = None) -> None:
    """Opening an app to everybody is a decision of its own."""
    if wanted.open == "public" and (before is None or before.open != "public"):
        may(unit, "app.publish")


def _check_quota(unit: Unit) -> None:
    limit, c = unit.settings.max_apps, apps.c
    used = unit.execute(sa.select(sa.func.count()).where(c.state == "active")).scalar_one()
    if used >= limit:
        raise Problem(
            "quota_exceeded", f"{used} apps are active; the limit is {limit}",
            hint="Stop one that nobody needs: builderos app stop NAME.", limit=limit, used=used,
        )  # fmt: skip
