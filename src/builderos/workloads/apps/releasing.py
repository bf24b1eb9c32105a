"""Releases: a commit that is to be the app; one before that is to be it again."""

from typing import Any

import sqlalchemy as sa

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import Branch
from builderos.assets.repositories.service import RepositoryStore, Scratch
from builderos.assets.workspaces import service as workspaces
from builderos.core.ids import new_id
from builderos.core.operations import Reply
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.execution.compute import service as compute
from builderos.execution.runs import service as runs
from builderos.trust.ledger import service as ledger

from . import reading, rows
from .model import releases
from .schema import AppRelease, ReleaseIn, RollbackIn
from .verbs import managed, tell


def release(unit: Unit, body: ReleaseIn) -> Reply[AppRelease]:
    """Have a commit of a branch become the app; it is `building` when this returns, and live once it is well.

    Raises `not_found` for the branch or a commit that is none of its, `illegal_transition` for a stopped app,
    `runtime_not_approved`, `budget_exceeded`, `validation_failed` where the branch does not hold what the app is made
    of.
    """
    app, rules = _active(unit, body.id)
    asked = workspaces.BranchIn(repo_name=app.repo_name, branch=body.branch or app.spec["source"]["branch"])
    branch = workspaces.locate(unit, asked, "files.read").branch
    repositories.ready(unit, branch)
    commit, tree = _tree_of(unit, branch, body.commit_sha, app)
    compute.runtime_of(unit, app.repo_id, app.spec["runtime"], app.spec["profile"])
    compute.require_budget(unit, app.repo_id, app.spec["runtime"], app.spec["profile"])
    id_, number = new_id("apv"), app.numbers + 1
    rows.change(unit, app.id, numbers=number, updated_at=unit.now)
    values: dict[str, Any] = {
        "id": id_, "org_id": unit.org_id, "app_id": app.id, "number": number, "branch_id": branch.id,
        "branch": branch.name, "commit_sha": commit, "tree": tree, "spec": app.spec, "status": "building",
        "detail": "", "starts": 0, "crashes": 0, "created_by": unit.actor.id,
        "actor": runs.actor_json(unit.actor), "created_at": unit.now,
    }  # fmt: skip
    unit.execute(sa.insert(releases).values(values))
    rows.told(unit, app.id, "app.building", release=id_, number=number, commit=commit, branch=branch.name)
    said = {"app": app.id, "name": app.name, "number": number, "commit": commit, "branch": branch.name}
    ledger.record(unit, "app.released", id_, said, rules=rules)
    tell(unit, app.id, "bring", id_)
    return Reply(202, reading.release_shown(rows.release(unit, id_)))


def roll_back(unit: Unit, body: RollbackIn) -> Reply[AppRelease]:
    """Have a release that was live be so again; what is live goes on until that one is well.

    Raises `illegal_transition` where none was live before, `not_found`.
    """
    app, rules = _active(unit, body.id)
    if app.current_id is None:
        raise Problem("illegal_transition", "nothing of this app is live", hint="Release it.", allowed=[])
    row = _before(unit, app) if body.to is None else rows.release(unit, body.to, lock=True)
    if row is None or row.app_id != app.id or row.live_at is None or row.id == app.current_id:
        raise Problem(
            "illegal_transition", "there is no such release that was live before",
            hint="List the releases of the app.", allowed=[],
        )  # fmt: skip
    if row.status not in rows.UNDER_WAY:
        rows.change_release(unit, row.id, status="starting", reason=rows.BACK, ended_at=None)
        said = {"app": app.id, "from": app.current_id, "reason": body.reason}
        rows.told(unit, app.id, "app.rolling_back", release=row.id, reason=body.reason or None)
        ledger.record(unit, "app.rolling_back", row.id, said, rules=rules)
    tell(unit, app.id, "bring", row.id)
    return Reply(202, reading.release_shown(rows.release(unit, row.id)))


def _active(unit: Unit, id_: str) -> tuple[rows.Row, tuple[str, ...]]:
    app, rules = managed(unit, id_)
    if app.state != "active":
        raise Problem("illegal_transition", f"this app is {app.state}", hint="Start it first.", allowed=[])
    return app, rules


def _before(unit: Unit, app: rows.Row) -> rows.Row | None:
    """The release that the live one replaced; else the newest that was live before it."""
    current, c = rows.release(unit, app.current_id), releases.c
    wanted = (
        sa.select(releases)
        .where(
            c.app_id == app.id, c.number < current.number, c.live_at.is_not(None), c.status == "superseded"
        )
        .order_by(c.number.desc())
        .limit(1)
    )
    return unit.execute(wanted).one_or_none()


def _tree_of(unit: Unit, branch: Branch, sha: str | None, app: rows.Row) -> tuple[str, str]:
    """Commit and tree. Raises `not_found` for a commit that is not of the branch, `validation_failed` where what the
    app is made of is missing.
    """
    commit = sha or branch.tip
    if commit != branch.tip and not unit.get(RepositoryStore).descends(branch.store, branch.tip, commit):
        raise Problem(
            "not_found", f"{branch.name} has no commit {commit[:12]}", hint="Name one of its commits."
        )
    scratch = Scratch.of(unit.context, unit.org_id, branch.repo_id, branch.store)
    tree, path = scratch.tree_of(commit), str(app.spec["source"]["path"])
    if path and not app.spec["said_build"]:  # else the build may make it
        entry, folder = scratch.entry(tree, path), app.type in ("static", "nextjs")
        if entry is None or (entry.is_tree is not folder and app.type != "custom"):
            raise Problem(
                "validation_failed", f"{branch.name} has no {'folder' if folder else 'file'} {path} at {commit[:12]}",
                hint="Commit it, or change the app's source.",
            )  # fmt: skip
    return commit, tree
