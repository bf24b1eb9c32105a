"""Open a sandbox, come back to it: the table of SPEC §3.1, row by row."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

import sqlalchemy as sa
from pydantic import Field

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import Branch, Repository
from builderos.core.actor import Actor
from builderos.core.ids import is_id
from builderos.core.problems import Problem
from builderos.core.schema import Line, Name, Text, ToolOut, WriteIn
from builderos.core.unit import Unit
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import RequestContext, Resource

from . import allowance
from .backups import restorable
from .model import sandboxes
from .names import draw
from .places import RepoName, RepoOwner

MAX_NAMES: Final = 7
TokenStatus = Literal["new", "valid", "expired", "revoked", "invalid"]


class InitFields(WriteIn):
    """What both modes take."""

    org_slug: Annotated[Name | None, Field(description="Organisation, where this server has several.")] = None
    repo_owner: RepoOwner = None
    repo_name: RepoName = None
    branch: Annotated[Name | None, Field(description="mode project: your branch.")] = None
    force_new: Annotated[bool, Field(description="Open another workspace although the token is valid.")] = (
        False
    )
    project_name: Annotated[Line | None, Field(description="mode project: name of the project.")] = None
    project_description: Annotated[
        Text | None, Field(description="mode project: what it is for.", max_length=5000)
    ] = None
    goals: Annotated[list[Line], Field(description="mode project: what it should reach.", max_length=50)] = []
    template: Annotated[Line | None, Field(description="mode project: a template, e.g. collaboration.")] = (
        None
    )


class InitIn(InitFields):
    """Open or resume a workspace (`mode: branch`), or scaffold a project in it (`mode: project`)."""

    mode: Annotated[
        Literal["branch", "project"], Field(description="branch: open or resume. project: scaffold.")
    ] = "branch"


class InitBranchIn(InitFields):
    """Open or resume a workspace; the mode may be left out."""

    mode: Annotated[Literal["branch"], Field(description="Always branch.")] = "branch"


class InitProjectIn(InitFields):
    """Scaffold a project; the mode may be left out."""

    mode: Annotated[Literal["project"], Field(description="Always project.")] = "project"


class SandboxOut(ToolOut):
    """A workspace that is ready. `reuse_token` is shown here and nowhere else."""

    reuse_token: str
    created: bool
    recreated: bool
    token_status: TokenStatus
    expires_at: datetime | None
    restore_from: list[str] = []


def init_branch(unit: Unit, body: InitFields) -> SandboxOut:
    """Create or resume a sandbox.

    A valid token resumes, unless `force_new`; any other or no token opens a new branch and says what became of the
    token. Raises `not_found` for an unknown repository, `unauthenticated` where anonymous mode is off.
    """
    if unit.actor.role == "sandbox" and not body.force_new:
        return _resume(unit, body)
    return _create(unit, body)


def _create(unit: Unit, body: InitFields) -> SandboxOut:
    found = _opening(unit, body)
    repo = found.repository
    context = RequestContext(anonymous_mode=unit.settings.anonymous)
    resource = Resource(
        kind="repo", id=repo.id, org_id=unit.org_id, repo_id=repo.id, project=repo.name, home=repo.home
    )
    decision = policy.require(unit, "sandbox.init", resource, context)
    if found.free_name is None:
        raise Problem("busy", "no free workspace name was found", hint="Repeat the call.")
    base = found.base or base_branch(unit, repo)
    branch = repositories.add_branch(
        unit, repo, found.free_name, "sandbox", tip=base.tip, base_sha=base.tip, seen_free=True
    )
    expires_at = unit.now + allowance.lifetime(unit)
    sandbox_id = _insert(unit, repo, branch, expires_at)
    token = identity.issue(
        unit, "reuse_token", actor_name=branch.name, actor_id="act_" + sandbox_id.removeprefix("sbx_"),
        profile="minimal" if unit.settings.token_profile == "minimal" else "standard", repo_id=repo.id,
        sandbox_id=sandbox_id, expires_at=expires_at, scopes=tuple(sorted(unit.actor.scopes)),
        made_by=identity.opener(unit),
    )  # fmt: skip
    status: TokenStatus = "new" if unit.call.presented in ("none", "valid") else unit.call.presented
    payload = {
        "repo": repo.name,
        "repo_id": repo.id,
        "branch": branch.name,
        "base": base.tip,
        "token_status": status,
        "profile": unit.settings.token_profile,
    }
    ledger.record(unit, "sandbox.created", sandbox_id, payload, rules=decision.rules)
    message = f"Your sandbox is ready in branch {branch.name} of {repo.name}. Save your token to come back."
    if status != "new":
        message = f"The token you sent is {status}, so your old workspace was not opened. " + message
    return SandboxOut(
        repo_name=repo.name, branch=branch.name, reuse_token=token.secret, created=True, recreated=False,
        token_status=status, expires_at=expires_at, message=f"Welcome! {message}",
    )  # fmt: skip


def _opening(unit: Unit, body: InitFields) -> repositories.Opening:
    """The repository, its trunks and a free name. Of two who draw the same one, one starts over."""
    names = [draw(attempt) for attempt in range(MAX_NAMES)]
    if body.repo_name is not None:
        return repositories.opening(unit, names, repo_name=body.repo_name, owner=body.repo_owner)
    if unit.actor.repo_id is not None:
        return repositories.opening(unit, names, repo_id=unit.actor.repo_id)
    raise Problem("validation_failed", "no repository was named", hint="Say which one with repo_name.")


def base_branch(unit: Unit, repo: Repository) -> Branch:
    """The branch new sandboxes start from; made from main when it is missing."""
    found = repositories.find_branch(unit, repo.id, repo.base_branch)
    if found is not None:
        return found
    main = repositories.main_branch(unit, repo.id)
    base = repositories.add_branch(
        unit, repo, repo.base_branch, "base", tip=main.tip, base_sha=main.tip, in_base=True
    )
    ledger.record(unit, "branch.created", base.id, repositories.branch_facts(base))
    store = unit.get(repositories.RepositoryStore)
    unit.after_commit(lambda: store.write_ref(base.store, base.ref, base.tip))
    return base


def _insert(unit: Unit, repo: Repository, branch: Branch, expires_at: datetime) -> str:
    id_ = "sbx_" + branch.id.removeprefix("br_")
    unit.add(
        sandboxes, id=id_, org_id=unit.org_id, repo_id=repo.id, branch_id=branch.id, name=branch.name, state="active",
        profile=unit.settings.token_profile, created_by=unit.actor.id, created_at=unit.now, last_active_at=unit.now,
        expires_at=expires_at,
    )  # fmt: skip
    return id_


def _resume(unit: Unit, body: InitFields) -> SandboxOut:
    actor = unit.actor
    assert actor.repo_id is not None
    assert actor.sandbox_id is not None
    assert actor.branch is not None
    branch = repositories.find_branch(unit, actor.repo_id, actor.branch, lock=True)
    if branch is None or (body.repo_name is not None and body.repo_name != branch.repo_name):
        raise Problem(
            "not_found", "this token belongs to another repository",
            hint="Leave repo_name out to resume, or send no token to start in the other repository.",
        )  # fmt: skip
    resource = Resource(
        kind="sandbox",
        id=actor.sandbox_id,
        org_id=unit.org_id,
        repo_id=actor.repo_id,
        sandbox_id=actor.sandbox_id,
        project=branch.repo_name,
        branch=branch.name,
    )
    decision = policy.require(unit, "sandbox.resume", resource)
    expires_at = touch(unit, actor)
    recreated = branch.state == "deleted"
    restore_from: list[str] = []
    if recreated:
        branch = _recreate(unit, branch)
        restore_from = restorable(unit, branch.id)
    payload = {"repo": branch.repo_name, "branch": branch.name, "recreated": recreated, "head": branch.tip}
    ledger.record(unit, "sandbox.resumed", actor.sandbox_id, payload, rules=decision.rules)
    return SandboxOut(
        repo_name=branch.repo_name, branch=branch.name, reuse_token=unit.call.secret or "", created=recreated,
        recreated=recreated, token_status="valid", expires_at=expires_at, restore_from=restore_from,
        message=_welcome_back(branch, recreated, restore_from),
    )  # fmt: skip


def _welcome_back(branch: Branch, recreated: bool, restore_from: list[str]) -> str:
    if not recreated:
        return f"Welcome back! You are in branch {branch.name} of {branch.repo_name}."
    text = (
        f"Your branch {branch.name} of {branch.repo_name} had been deleted; it was made anew from the base."
    )
    return text + (" Your backups can be restored." if restore_from else "")


def _recreate(unit: Unit, branch: Branch) -> Branch:
    """Bring a deleted branch back under its name, at today's base. Its old commits stay reachable through backups."""
    repo = repositories.repository_by_id(unit, branch.repo_id)
    base = base_branch(unit, repo)
    repositories.reset_branch(unit, branch, base.tip)
    unit.execute(
        sa.update(sandboxes).where(sandboxes.c.branch_id == branch.id).values(state="active", deleted_at=None)
    )
    return repositories.branch_by_id(unit, branch.id)


def touch(unit: Unit, actor: Actor) -> datetime | None:
    """Slide the expiry of the actor's sandbox and its token to the full time from now."""
    expires_at = unit.now + allowance.lifetime(unit)
    row = unit.execute(
        sa.update(sandboxes)
        .where(sandboxes.c.id == actor.sandbox_id)
        .values(
            last_active_at=unit.now,
            expires_at=sa.case((sandboxes.c.expires_at.is_(None), None), else_=expires_at),
            state=sa.case((sandboxes.c.state == "idle", "active"), else_=sandboxes.c.state),
        )
        .returning(sandboxes.c.expires_at)
    ).one()
    identity.extend(unit, actor.sandbox_id or "", row.expires_at)
    return row.expires_at


def sandbox_row(unit: Unit, sandbox_id: str) -> sa.Row[Any]:
    """One sandbox with all columns, by its id or its branch; raises `not_found`, `conflict`.

    A credential of one sandbox finds only its own: any other is told like one that is not there.
    """
    c = sandboxes.c
    wanted = sa.select(sandboxes).order_by(c.id.desc())
    if is_id(sandbox_id, "sbx"):
        wanted = wanted.where(c.id == sandbox_id)
    else:
        wanted = wanted.where(c.name == sandbox_id)
    if unit.actor.sandbox_id is not None:
        wanted = wanted.where(c.id == unit.actor.sandbox_id)
    rows = unit.execute(wanted).all()
    if not rows:
        raise Problem("not_found", "there is no such sandbox", hint="List the sandboxes first.")
    if len({row.repo_id for row in rows}) > 1:
        raise Problem(
            "conflict", f"several repositories have a branch {sandbox_id}", hint="Use the sandbox's id."
        )
    return rows[0]
