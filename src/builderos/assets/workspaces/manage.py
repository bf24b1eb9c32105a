"""Look after sandboxes: list, show, tokens, archive, delete. Nothing that was written is lost by any of it."""

from datetime import datetime
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from pydantic import Field

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import Branch
from builderos.assets.repositories.service import RepositoryStore
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.schema import In, Line, Name, Out, WriteIn
from builderos.core.unit import Unit
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource

from . import allowance, backups
from .model import sandboxes
from .sandboxes import sandbox_row

SandboxState = Literal["active", "idle", "expired", "archived", "deleted"]


class SandboxIn(In):
    """Which sandbox."""

    id: Line


class SandboxWriteIn(WriteIn):
    """Which sandbox to change."""

    id: Line


class SandboxListIn(In):
    """Filters of the list of sandboxes."""

    repo_name: Name | None = None
    state: SandboxState | None = None
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class Sandbox(Out):
    """A sandbox as an owner sees it; never its token."""

    id: str
    repo_id: str
    branch: str
    state: SandboxState
    profile: str
    created_at: datetime
    last_active_at: datetime
    expires_at: datetime | None


class SandboxDetail(Sandbox):
    """A sandbox with the figures of its branch."""

    repo_name: str
    head_sha: str
    base_sha: str
    commits: int
    files: int


class SandboxList(Out):
    """One page, newest first."""

    items: list[Sandbox]
    next_cursor: str | None


class TokenIn(WriteIn):
    """What to do with the token of a sandbox."""

    id: Line
    action: Annotated[
        Literal["rotate", "revoke", "renew"],
        Field(
            description="rotate: a new token, the old one ends. revoke: it ends. renew: an expired sandbox lives on."
        ),
    ]


class TokenOut(Out):
    """`reuse_token` is set after a rotation and shown only here."""

    sandbox_id: str
    branch: str
    reuse_token: str | None
    expires_at: datetime | None
    message: str


class SandboxStateOut(Out):
    """What became of a sandbox."""

    sandbox_id: str
    branch: str
    state: SandboxState
    backup_id: str | None
    message: str


def resource_of(unit: Unit, row: sa.Row[Any]) -> Resource:
    """A sandbox as the policy sees it."""
    return Resource(
        kind="sandbox", id=row.id, org_id=unit.org_id, repo_id=row.repo_id, sandbox_id=row.id,
        project=repositories.repository_by_id(unit, row.repo_id).name, branch=row.name,
    )  # fmt: skip


def listed(unit: Unit, body: SandboxListIn) -> SandboxList:
    """Sandboxes of the organisation or of one repository, newest first."""
    policy.require(unit, "sandbox.list", policy.org_resource(unit))
    c = sandboxes.c
    wanted = sa.select(sandboxes).order_by(c.id.desc()).limit(body.limit + 1)
    if body.repo_name is not None:
        wanted = wanted.where(c.repo_id == repositories.find_repository(unit, body.repo_name).id)
    if body.state is not None:
        wanted = wanted.where(c.state == body.state)
    key = list_key("sandboxes", repo=body.repo_name, state=body.state)
    last = decode_cursor(key, body.cursor)
    if last is not None:
        wanted = wanted.where(c.id < str(last[0]))
    rows = unit.execute(wanted).all()
    items = [Sandbox(**_values(r)) for r in rows[: body.limit]]
    more = len(rows) > body.limit
    return SandboxList(items=items, next_cursor=encode_cursor(key, [items[-1].id]) if more else None)


def show(unit: Unit, body: SandboxIn) -> SandboxDetail:
    """One sandbox with its figures."""
    row = sandbox_row(unit, body.id)
    policy.require(unit, "sandbox.read", resource_of(unit, row))
    branch = repositories.branch_by_id(unit, row.branch_id)
    return SandboxDetail(
        **_values(row), repo_name=branch.repo_name, head_sha=branch.tip, base_sha=branch.base_sha,
        commits=branch.commits,
        files=branch.files,
    )  # fmt: skip


def _values(row: sa.Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id, "repo_id": row.repo_id, "branch": row.name, "state": row.state, "profile": row.profile,
        "created_at": row.created_at, "last_active_at": row.last_active_at, "expires_at": row.expires_at,
    }  # fmt: skip


def change_token(unit: Unit, body: TokenIn) -> TokenOut:
    """Rotate, revoke or renew. Raises `illegal_transition` where the sandbox is in no state for it."""
    row = sandbox_row(unit, body.id)
    verbs: dict[str, tuple[policy.Action, Any]] = {
        "rotate": ("sandbox.rotate_token", _rotate),
        "revoke": ("sandbox.revoke", _revoke),
        "renew": ("sandbox.renew", _renew),
    }
    action, verb = verbs[body.action]
    decision = policy.require(unit, action, resource_of(unit, row))
    out: TokenOut = verb(unit, row)
    ledger.record(unit, f"sandbox.token_{body.action}", row.id, {"branch": row.name}, rules=decision.rules)
    return out


def _rotate(unit: Unit, row: sa.Row[Any]) -> TokenOut:
    if row.state in ("expired", "archived"):
        raise Problem(
            "illegal_transition", f"the sandbox is {row.state}", hint="Renew it first.", allowed=["renew"]
        )
    identity.revoke(unit, sandbox_id=row.id)
    token = identity.issue(
        unit, "reuse_token", actor_name=row.name, actor_id="act_" + row.id.removeprefix("sbx_"), profile=row.profile,
        repo_id=row.repo_id, sandbox_id=row.id, expires_at=row.expires_at, scopes=tuple(sorted(unit.actor.scopes)),
        made_by=unit.actor.member_id or identity.opener(unit, row.id),
    )  # fmt: skip
    return TokenOut(
        sandbox_id=row.id, branch=row.name, reuse_token=token.secret, expires_at=row.expires_at,
        message="The old token has ended. Save the new one: it is the only way back into this workspace.",
    )  # fmt: skip


def _revoke(unit: Unit, row: sa.Row[Any]) -> TokenOut:
    identity.revoke(unit, sandbox_id=row.id)
    return TokenOut(
        sandbox_id=row.id, branch=row.name, reuse_token=None, expires_at=row.expires_at,
        message="The token has ended. The work stays; an owner can rotate the token to open it again.",
    )  # fmt: skip


def _renew(unit: Unit, row: sa.Row[Any]) -> TokenOut:
    """Bring an expired or archived sandbox back with its own token."""
    if row.state == "deleted":
        raise Problem(
            "illegal_transition", "the sandbox is deleted", hint="Resume it with its token.", allowed=[]
        )
    expires_at = unit.now + allowance.lifetime(unit)
    if row.state == "archived":
        unarchive(unit, repositories.branch_by_id(unit, row.branch_id, lock=True))
    unit.execute(
        sa.update(sandboxes)
        .where(sandboxes.c.id == row.id)
        .values(state="active", expires_at=expires_at, archived_at=None, last_active_at=unit.now)
    )
    identity.extend(unit, row.id, expires_at)
    return TokenOut(
        sandbox_id=row.id, branch=row.name, reuse_token=None, expires_at=expires_at,
        message=f"Branch {row.name} is open again; its token works until it is idle for "
        f"{allowance.lifetime(unit).days} days.",
    )  # fmt: skip


def archive(unit: Unit, body: SandboxWriteIn) -> SandboxStateOut:
    """Put a sandbox away: nobody can write it until an owner renews it."""
    row = sandbox_row(unit, body.id)
    decision = policy.require(unit, "sandbox.archive", resource_of(unit, row))
    if row.state in ("archived", "deleted"):
        raise Problem(
            "illegal_transition",
            f"the sandbox is {row.state} already",
            hint="Renew it to open it.",
            allowed=["renew"],
        )
    put_away(unit, row)
    ledger.record(unit, "sandbox.archived", row.id, {"branch": row.name}, rules=decision.rules)
    return SandboxStateOut(
        sandbox_id=row.id, branch=row.name, state="archived", backup_id=None,
        message=f"Branch {row.name} is archived; an owner can renew it.",
    )  # fmt: skip


def put_away(unit: Unit, row: sa.Row[Any]) -> None:
    """Archive a sandbox's branch: its ref moves to `refs/bos/archive/…`, its commits stay."""
    branch = repositories.branch_by_id(unit, row.branch_id, lock=True)
    repositories.ready(unit, branch)
    repositories.set_branch(unit, branch.id, state="archived")
    unit.execute(
        sa.update(sandboxes).where(sandboxes.c.id == row.id).values(state="archived", archived_at=unit.now)
    )
    store = unit.get(RepositoryStore)
    unit.after_commit(lambda: _hide_ref(store, branch))


def unarchive(unit: Unit, branch: Branch) -> None:
    """Give an archived branch its ref back."""
    repositories.set_branch(unit, branch.id, state="active")
    store = unit.get(RepositoryStore)
    unit.after_commit(lambda: store.write_ref(branch.store, branch.ref, branch.tip))


def _hide_ref(store: RepositoryStore, branch: Branch) -> None:
    store.write_ref(branch.store, f"refs/bos/archive/{branch.id}", branch.tip)
    store.delete_ref(branch.store, branch.ref)


def delete(unit: Unit, body: SandboxWriteIn) -> SandboxStateOut:
    """Delete a sandbox's branch after an automatic backup of it. Its token opens it anew, the backup brings it back."""
    row = sandbox_row(unit, body.id)
    decision = policy.require(unit, "sandbox.delete", resource_of(unit, row))
    if row.state == "deleted":
        raise Problem(
            "illegal_transition",
            "the sandbox is deleted already",
            hint="Resume it with its token.",
            allowed=[],
        )
    branch = repositories.branch_by_id(unit, row.branch_id, lock=True)
    kept = backups.keep(unit, branch, "branch", "automatic", rules=decision.rules)
    repositories.set_branch(unit, branch.id, state="deleted")
    unit.execute(
        sa.update(sandboxes).where(sandboxes.c.id == row.id).values(state="deleted", deleted_at=unit.now)
    )
    payload = {"branch": row.name, "head": branch.tip, "backup_id": kept.backup_id}
    ledger.record(unit, "sandbox.deleted", row.id, payload, rules=decision.rules)
    store = unit.get(RepositoryStore)
    unit.after_commit(lambda: store.delete_ref(branch.store, branch.ref))
    return SandboxStateOut(
        sandbox_id=row.id, branch=row.name, state="deleted", backup_id=kept.backup_id,
        message=f"Branch {row.name} is deleted. Backup {kept.backup_id} keeps everything that was in it.",
    )  # fmt: skip
