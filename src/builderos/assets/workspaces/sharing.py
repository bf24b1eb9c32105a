"""Read-only, revocable links to a sandbox."""

from typing import Annotated, Final

import sqlalchemy as sa
from pydantic import Field

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.service import walk
from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.core.schema import In, Instant, Line, Out, ToolOut, WriteIn
from builderos.core.unit import Unit
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy

from .content import batch_of, tree_of
from .history import CommitLine, LogIn, log
from .manage import resource_of
from .model import shares
from .places import branch_resource
from .sandboxes import sandbox_row

MAX_FILES: Final = 1000


class ShareIn(WriteIn):
    """Which sandbox to share."""

    id: Line
    expires_at: Annotated[Instant | None, Field(description="When the link ends by itself.")] = None


class ShareOut(Out):
    """A link for reading; it is shown only here."""

    share_id: str
    link: str
    share_token: str
    message: str


class ShareRevokeIn(In):
    """Which link to end."""

    id: Line


class ShareRevokedOut(Out):
    """A link that has ended."""

    share_id: str
    message: str


class SharedIn(In):
    """The link's token."""

    share_token: Annotated[str, Field(max_length=200)]


class SharedOut(ToolOut):
    """What a link shows: the files and the last commits of one branch."""

    head_sha: str
    files: list[str]
    truncated: bool
    commits: list[CommitLine]


def share(unit: Unit, body: ShareIn) -> ShareOut:
    """Make a link through which anybody who has it can read this branch, and nothing else."""
    row = sandbox_row(unit, body.id)
    decision = policy.require(unit, "sandbox.share", resource_of(unit, row))
    if body.expires_at is not None and body.expires_at <= unit.now:
        raise Problem("validation_failed", "expires_at must lie in the future", hint="End it with Z.")
    if row.state == "deleted":
        raise Problem(
            "illegal_transition", "the sandbox is deleted", hint="Resume it with its token.", allowed=[]
        )
    credential = identity.issue(
        unit, "share", actor_name=f"share-of-{row.name}", repo_id=row.repo_id, sandbox_id=row.id,
        expires_at=body.expires_at,
    )  # fmt: skip
    id_ = new_id("shr")
    unit.execute(
        sa.insert(shares).values(
            id=id_, org_id=unit.org_id, sandbox_id=row.id, credential_id=credential.id, created_by=unit.actor.id,
            created_at=unit.now, expires_at=body.expires_at,
        )
    )  # fmt: skip
    payload = {"share_id": id_, "branch": row.name, "credential_id": credential.id}
    ledger.record(unit, "sandbox.shared", row.id, payload, rules=decision.rules)
    return ShareOut(
        share_id=id_, share_token=credential.secret,
        link=f"{unit.settings.public_url or ''}/v1/shared/{credential.secret}",
        message=f"Whoever has this link can read branch {row.name}. Revoke it with {id_}.",
    )  # fmt: skip


def revoke(unit: Unit, body: ShareRevokeIn) -> ShareRevokedOut:
    """End a link."""
    wanted = sa.select(shares).where(shares.c.id == body.id)
    if unit.actor.sandbox_id is not None:
        wanted = wanted.where(shares.c.sandbox_id == unit.actor.sandbox_id)
    row = unit.execute(wanted).one_or_none()
    if row is None:
        raise Problem("not_found", "there is no such link", hint="The id begins with shr_.")
    decision = policy.require(unit, "sandbox.share", resource_of(unit, sandbox_row(unit, row.sandbox_id)))
    identity.revoke(unit, credential_id=row.credential_id)
    unit.execute(sa.update(shares).where(shares.c.id == row.id).values(revoked_at=unit.now))
    ledger.record(unit, "sandbox.unshared", row.sandbox_id, {"share_id": row.id}, rules=decision.rules)
    return ShareRevokedOut(share_id=row.id, message="The link has ended.")


def view(unit: Unit, _body: SharedIn) -> SharedOut:
    """What the link's holder sees."""
    sandbox_id = unit.actor.sandbox_id
    if sandbox_id is None or unit.actor.role != "share":
        raise Problem("not_found", "this is not a link for reading")
    row = sandbox_row(unit, sandbox_id)
    policy.require(unit, "sandbox.read", resource_of(unit, row))
    branch = repositories.branch_by_id(unit, row.branch_id)
    policy.require(unit, "files.read", branch_resource(unit, branch))
    batch = batch_of(unit, branch)
    files: list[str] = []
    for path, _, _ in walk(batch, tree_of(batch, branch.tip)):
        files.append(path)
        if len(files) > MAX_FILES:
            break
    history = log(unit, LogIn(branch=branch.name, limit=20))
    return SharedOut(
        head_sha=branch.tip, files=files[:MAX_FILES], truncated=len(files) > MAX_FILES, commits=history.items,
        repo_name=branch.repo_name, branch=branch.name,
        message=f"You may read branch {branch.name} of {branch.repo_name}. fetchFiles shows a file.",
    )  # fmt: skip
