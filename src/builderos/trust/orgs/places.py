"""Workspaces and projects: what stands between an organisation and its repositories."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.core.tables import as_dict
from builderos.core.unit import Unit
from builderos.trust.identity.service import roles
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource

from . import place_schema as schema
from .place_model import projects, workspaces


def workspace_resource(unit: Unit, id_: str) -> Resource:
    """A workspace as the policy sees it."""
    return Resource(kind="workspace", id=id_, org_id=unit.org_id, lies_in=(id_,))


def project_resource(unit: Unit, row: sa.Row[Any], environment: str | None = None) -> Resource:
    """A project as the policy sees it, or what is done in one of its environments."""
    return Resource(
        kind="project", id=row.id, org_id=unit.org_id, lies_in=(row.id, row.workspace_id), project=row.name,
        environment=environment,
    )  # fmt: skip


def find_workspace(unit: Unit, id_: str, *, lock: bool = False) -> sa.Row[Any]:
    """A workspace, archived or not. Raises `not_found`."""
    return _find(unit, workspaces, id_, "workspace", lock=lock)


def find_project(unit: Unit, id_: str, *, lock: bool = False) -> sa.Row[Any]:
    """A project, archived or not. Raises `not_found`."""
    return _find(unit, projects, id_, "project", lock=lock)


def _find(unit: Unit, table: sa.Table, id_: str, what: str, *, lock: bool) -> sa.Row[Any]:
    wanted = sa.select(table).where(table.c.id == id_)
    row = unit.execute(wanted.with_for_update() if lock else wanted).one_or_none()
    if row is None:
        raise Problem("not_found", f"there is no such {what}", hint=f"List the {what}s first.")
    return row


def create_workspace(unit: Unit, body: schema.WorkspaceIn) -> schema.Workspace:
    """Make a workspace. Raises `conflict` for a taken name."""
    decision = policy.require(unit, "project.manage", policy.org_resource(unit))
    id_ = new_id("wks")
    _insert(
        unit, workspaces, id=id_, org_id=unit.org_id, name=body.name, created_by=unit.actor.id,
        created_at=unit.now,
    )  # fmt: skip
    ledger.record(unit, "workspace.created", id_, {"name": body.name}, rules=decision.rules)
    return _workspace(find_workspace(unit, id_), [])


def change_workspace(unit: Unit, body: schema.WorkspaceChangeIn) -> schema.Workspace:
    """Rename a workspace, put it away or get it back. An archived one takes no new projects."""
    policy.require(unit, "project.read", policy.org_resource(unit))
    row = find_workspace(unit, body.id, lock=True)
    decision = policy.require(unit, "project.manage", workspace_resource(unit, row.id))
    changes = _changes(unit, row, body, "name")
    _update(unit, workspaces, row.id, changes)
    ledger.record(unit, "workspace.changed", row.id, _told(changes), rules=decision.rules)
    return show_workspace(unit, schema.PlaceIn(id=row.id))


def list_workspaces(unit: Unit, body: schema.PlaceListIn) -> schema.WorkspaceList:
    """All workspaces with their projects, by name."""
    policy.require(unit, "project.read", policy.org_resource(unit))
    wanted = sa.select(workspaces).order_by(workspaces.c.name)
    if not body.archived:
        wanted = wanted.where(workspaces.c.archived_at.is_(None))
    inside: dict[str, list[schema.Project]] = {}
    for project in _projects(unit, archived=body.archived):
        inside.setdefault(project.workspace_id, []).append(project)
    return schema.WorkspaceList(
        items=[_workspace(row, inside.get(row.id, [])) for row in unit.execute(wanted)]
    )


def show_workspace(unit: Unit, body: schema.PlaceIn) -> schema.Workspace:
    """One workspace with its projects."""
    policy.require(unit, "project.read", policy.org_resource(unit))
    row = find_workspace(unit, body.id)
    policy.require(unit, "project.read", workspace_resource(unit, row.id))
    return _workspace(row, _projects(unit, workspace_id=row.id, archived=True))


def create_project(unit: Unit, body: schema.ProjectIn) -> schema.Project:
    """Make a project. Raises `conflict` for a taken name, `illegal_transition` in an archived workspace."""
    policy.require(unit, "project.read", policy.org_resource(unit))
    home = find_workspace(unit, body.workspace_id, lock=True)
    decision = policy.require(unit, "project.manage", workspace_resource(unit, home.id))
    _open(home, "workspace")
    id_ = new_id("prj")
    _insert(
        unit, projects, id=id_, org_id=unit.org_id, workspace_id=home.id, name=body.name,
        path=body.path, stack=body.stack, envs=list(dict.fromkeys(body.envs)), desks=[], prompts=[],
        created_by=unit.actor.id, created_at=unit.now,
    )  # fmt: skip
    payload = {"name": body.name, "workspace": home.id, "envs": body.envs}
    ledger.record(unit, "project.created", id_, payload, rules=decision.rules)
    return _project(find_project(unit, id_))


def change_project(unit: Unit, body: schema.ProjectChangeIn) -> schema.Project:
    """Rename, move, describe or archive a project; an archived one takes no new repositories."""
    policy.require(unit, "project.read", policy.org_resource(unit))
    row = find_project(unit, body.id, lock=True)
    decision = policy.require(unit, "project.manage", project_resource(unit, row))
    changes = _changes(unit, row, body, "name", "path", "stack", "envs")
    if body.workspace_id is not None and body.workspace_id != row.workspace_id:
        target = find_workspace(unit, body.workspace_id, lock=True)
        policy.require(unit, "project.manage", workspace_resource(unit, target.id))
        _open(target, "workspace")
        changes["workspace_id"] = target.id
    _update(unit, projects, row.id, changes)
    ended = roles.end_what_no_longer_holds(unit) if "workspace_id" in changes else 0
    payload = _told(changes) | ({"credentials_ended": ended} if ended else {})
    ledger.record(unit, "project.changed", row.id, payload, rules=decision.rules)
    return _project(find_project(unit, row.id))


def list_projects(unit: Unit, body: schema.ProjectListIn) -> schema.ProjectList:
    """Projects, by name."""
    policy.require(unit, "project.read", policy.org_resource(unit))
    return schema.ProjectList(items=_projects(unit, workspace_id=body.workspace_id, archived=body.archived))


def show_project(unit: Unit, body: schema.PlaceIn) -> schema.Project:
    """One project."""
    policy.require(unit, "project.read", policy.org_resource(unit))
    row = find_project(unit, body.id)
    policy.require(unit, "project.read", project_resource(unit, row))
    return _project(row)


def project_for(unit: Unit, id_: str) -> sa.Row[Any]:
    """A project that the caller may put a repository into. Raises `not_found`, `illegal_transition`, `Refused`."""
    row = find_project(unit, id_)
    policy.require(unit, "project.manage", project_resource(unit, row))
    _open(row, "project")
    return row


def _open(row: sa.Row[Any], what: str) -> None:
    if row.archived_at is not None:
        raise Problem(
            "illegal_transition", f"this {what} is archived", hint="Get it back first (archived: false)."
        )


def _changes(unit: Unit, row: sa.Row[Any], body: Any, *names: str) -> dict[str, Any]:
    changes = {name: getattr(body, name) for name in names if getattr(body, name) is not None}
    if body.archived is not None and body.archived != (row.archived_at is not None):
        changes["archived_at"] = unit.now if body.archived else None
    return {name: value for name, value in changes.items() if getattr(row, name) != value}


def _told(changes: dict[str, Any]) -> dict[str, Any]:
    """Changes as the ledger has them: whether it is archived, not since when."""
    return {
        "archived" if name == "archived_at" else name: value is not None if name == "archived_at" else value
        for name, value in changes.items()
    }


def _insert(unit: Unit, table: sa.Table, **values: Any) -> None:
    try:
        unit.execute(sa.insert(table).values(values))
    except IntegrityError:
        raise _taken(values["name"]) from None


def _update(unit: Unit, table: sa.Table, id_: str, changes: dict[str, Any]) -> None:
    if not changes:
        return
    try:
        unit.execute(sa.update(table).where(table.c.id == id_).values(changes))
    except IntegrityError:
        raise _taken(str(changes.get("name"))) from None


def _taken(name: str) -> Problem:
    return Problem("conflict", f"there is one called {name} already", hint="Choose another name.")


def _projects(unit: Unit, *, workspace_id: str | None = None, archived: bool = False) -> list[schema.Project]:
    wanted = sa.select(projects).order_by(projects.c.name)
    if workspace_id is not None:
        wanted = wanted.where(projects.c.workspace_id == workspace_id)
    if not archived:
        wanted = wanted.where(projects.c.archived_at.is_(None))
    return [_project(row) for row in unit.execute(wanted)]


def _project(row: sa.Row[Any]) -> schema.Project:
    values = as_dict(row)
    del values["org_id"], values["created_by"]
    return schema.Project(**values)


def _workspace(row: sa.Row[Any], inside: list[schema.Project]) -> schema.Workspace:
    return schema.Workspace(
        id=row.id, name=row.name, projects=inside, created_at=row.created_at, archived_at=row.archived_at
    )
