"""Promotion: the only way into `main`. A pull request with diff, checks and an approval bound to exactly that diff."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import sqlalchemy as sa
from pydantic import Field

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import MAIN, Branch
from builderos.assets.repositories.service import EMPTY_TREE
from builderos.core.clock import rfc3339
from builderos.core.ids import new_id
from builderos.core.operations import Reply
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.schema import In, Line, Name, Out, Text, ToolOut, WriteIn
from builderos.core.tables import as_dict
from builderos.core.unit import Unit
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import RequestContext, Resource
from builderos.trust.policy.service import Approval, approvals

from . import prbot
from .checks import Check, run_checks
from .content import tree_of
from .history import unified_diff
from .landing import land
from .merging import Preview, preview
from .model import pulls
from .places import BranchWriteIn, Place, locate, sandbox_id_of
from .writing import DiffStat

SEMVER: Final = r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?$"
MAX_DIFF_CHARS: Final = 60_000
PullState = Literal["open", "merged", "closed"]


class PromoteIn(BranchWriteIn):
    """What to promote, and where to."""

    target: Annotated[Name, Field(description="Branch to promote into; main by default.")] = MAIN
    mode: Annotated[Literal["pr", "release"], Field(description="pr: merge. release: merge and tag.")] = "pr"
    title: Annotated[Line, Field(description="What this promotion brings.", min_length=1)]
    version: Annotated[
        str | None, Field(description="mode release: version, e.g. 1.2.0.", pattern=SEMVER, max_length=50)
    ] = None


class PromoteOut(ToolOut):
    """An open promotion. `approval_id` is set while it waits for a yes."""

    promotion_id: str
    pr_url: str
    state: PullState
    checks: list[Check]
    approval_id: str | None
    merge_sha: str | None = None


class Pull(Out):
    """A promotion as reviewers see it."""

    id: str
    repo_name: str
    branch: str
    target: str
    title: str
    mode: str
    version: str | None
    state: PullState
    head_sha: str
    base_sha: str
    diff_hash: str
    diff_stat: dict[str, Any]
    checks: list[Check]
    comments: list[dict[str, Any]]
    approval_id: str | None
    merge_sha: str | None
    tag: str | None
    created_by: str
    created_at: datetime
    merged_at: datetime | None


class PullDetail(Pull):
    """A promotion with its diff (cut at 60,000 characters)."""

    diff: str
    truncated: bool


class PullIn(In):
    """Which promotion."""

    id: Line


class PullListIn(In):
    """Filters of the list of promotions."""

    repo_name: Name | None = None
    branch: Annotated[Name | None, Field(description="Only promotions from this branch.")] = None
    state: PullState | None = None
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class PullList(Out):
    """One page, newest first."""

    items: list[Pull]
    next_cursor: str | None


class ReviewIn(WriteIn):
    """A reviewer's word."""

    id: Line
    verdict: Literal["approve", "deny", "comment"]
    comment: Annotated[Text, Field(max_length=5000)] = ""


class MergeIn(WriteIn):
    """Merge a promotion whose gates are green."""

    id: Line


def promote(unit: Unit, body: PromoteIn) -> Reply[PromoteOut]:
    """Open a promotion (or bring the open one up to date) and run its gates.

    202 with `approval_id` while an approval is needed. Raises `conflict` when there is nothing to promote,
    `not_found` for
    an unknown target, `validation_failed` for a release without version.
    """
    if (body.mode == "release") != (body.version is not None):
        raise Problem(
            "validation_failed", "mode release and version belong together", hint="Send both or neither."
        )
    place = locate(unit, body, "git.diff", lock=True)
    source = place.branch
    target = _target(unit, source, body.target)
    known = _open_pull(unit, source, target)
    id_ = known.id if known is not None else new_id("pul")
    decision = policy.require(unit, "git.promote", _resource(unit, id_, source, target))
    found = preview(unit, source, target)
    if not found.files and not found.entries and body.mode == "pr":
        raise Problem(
            "conflict", f"{source.name} has nothing that {target.name} lacks", hint="Commit something first."
        )
    checks = run_checks(unit, found)
    text, _, stat = unified_diff(found.batch, _base_tree(found), found.theirs.tree)
    values = _values(unit, body, source, target, found, checks, stat)
    _save(unit, id_, known is not None, values)
    payload = {"repo": source.repo_name, "branch": source.name, "target": target.name, "head": source.tip,
               "diff_hash": found.digest, "title": body.title}  # fmt: skip
    green = all(c.ok for c in checks)
    approval_id = (
        _ask(unit, id_, body, source, target, found, text, stat) if green and target.kind == "main" else None
    )
    unit.execute(sa.update(pulls).where(pulls.c.id == id_).values(approval_id=approval_id))
    ledger.record(unit, "promotion.opened", id_, payload, rules=decision.rules)
    merged = _try_bot(unit, id_, target, checks, stat, found) if green else None
    return _reply(unit, place, id_, target, checks, approval_id, merged)


def _target(unit: Unit, source: Branch, name: str) -> Branch:
    target = repositories.find_branch(unit, source.repo_id, name.removeprefix("refs/heads/"))
    if target is None or target.state != "active":
        raise Problem("not_found", f"there is no branch {name} to promote into", hint="Promote into main.")
    if target.id == source.id:
        raise Problem("conflict", "a branch cannot be promoted into itself", hint="Promote into main.")
    return target


def _open_pull(unit: Unit, source: Branch, target: Branch) -> sa.Row[Any] | None:
    c = pulls.c
    return unit.execute(
        sa.select(pulls).where(
            c.source_branch_id == source.id, c.target_branch_id == target.id, c.state == "open"
        )
    ).first()


def _resource(unit: Unit, id_: str, source: Branch, target: Branch) -> Resource:
    return Resource(
        kind="pull", id=id_, org_id=unit.org_id, repo_id=source.repo_id, branch_kind=source.kind,
        sandbox_id=sandbox_id_of(source), target_kind=target.kind, target_sandbox_id=sandbox_id_of(target),
        default_write=source.name == unit.settings.default_write_branch,
    )  # fmt: skip


def _base_tree(found: Preview) -> bytes:
    return tree_of(found.batch, found.base) if found.base else EMPTY_TREE


def _values(
    unit: Unit,
    body: PromoteIn,
    source: Branch,
    target: Branch,
    found: Preview,
    checks: list[Check],
    stat: DiffStat,
) -> dict[str, Any]:
    return {
        "org_id": unit.org_id, "repo_id": source.repo_id, "source_branch_id": source.id, "target_branch_id": target.id,
        "title": body.title, "mode": body.mode, "version": body.version, "state": "open", "head_sha": source.tip,
        "base_sha": target.tip, "diff_hash": found.digest, "diff_stat": stat.model_dump(),
        "checks": [c.model_dump() for c in checks], "created_by": unit.actor.id, "created_at": unit.now,
    }  # fmt: skip


def _save(unit: Unit, id_: str, exists: bool, values: Mapping[str, Any]) -> None:
    if exists:
        kept = {k: v for k, v in values.items() if k not in ("created_by", "created_at")}
        unit.execute(sa.update(pulls).where(pulls.c.id == id_).values(**kept))
    else:
        unit.execute(sa.insert(pulls).values(id=id_, comments=[], **values))


def _ask(
    unit: Unit,
    id_: str,
    body: PromoteIn,
    source: Branch,
    target: Branch,
    found: Preview,
    text: str,
    stat: DiffStat,
) -> str:
    return approvals.request(
        unit, action="pull.merge", object_=id_, diff=text, diff_stat=stat.model_dump(), diff_hash=found.digest,
        reason=f"{body.title} ({source.name} → {target.name} of {source.repo_name})", risk="high",
        requested_by=unit.actor.id,
    )  # fmt: skip


def _try_bot(
    unit: Unit, id_: str, target: Branch, checks: list[Check], stat: DiffStat, found: Preview
) -> str | None:
    """PRBot comments, and merges what it may; returns the merge commit."""
    if not unit.settings.prbot:
        return None
    verdict = prbot.judge(unit, target, stat, found)
    _comment(unit, id_, "PRBot", verdict.summary)
    return _merge(unit, id_, as_bot=True) if verdict.approves and all(c.ok for c in checks) else None


def _reply(
    unit: Unit,
    place: Place,
    id_: str,
    target: Branch,
    checks: list[Check],
    approval_id: str | None,
    merged: str | None,
) -> Reply[PromoteOut]:
    failed = [c.name for c in checks if not c.ok]
    where = f"branch {place.branch.name} of {place.repo_name}"
    if merged:
        message = f"Promoted {where} into {target.name} as {merged[:10]}."
    elif failed:
        message = f"The promotion of {where} is open, but these checks fail: {', '.join(failed)}."
    elif approval_id:
        message = f"The promotion of {where} is open and waits for an approval ({approval_id})."
    else:
        message = f"The promotion of {where} into {target.name} is open; an owner or reviewer can merge it."
    out = PromoteOut(
        promotion_id=id_, pr_url=f"{unit.settings.public_url or ''}/v1/pulls/{id_}",
        state="merged" if merged else "open",
        checks=checks, approval_id=approval_id, merge_sha=merged, repo_name=place.repo_name, branch=place.branch.name,
        message=message,
    )  # fmt: skip
    return Reply(202 if approval_id else 200, out)


def on_verdict(unit: Unit, approval: Approval) -> None:
    """An approval of a promotion was decided: merge on a yes, close on a no, all in the reviewer's unit."""
    row = _find(unit, approval.object)
    if row.state != "open":
        raise Problem(
            "illegal_transition", f"the promotion is {row.state}", hint="Open a new one.", allowed=[]
        )
    if approval.state == "approved":
        _merge(unit, row.id)
    elif approval.state == "denied":
        unit.execute(sa.update(pulls).where(pulls.c.id == row.id).values(state="closed"))


def merge(unit: Unit, body: MergeIn) -> Pull:
    """Merge a promotion. Raises `approval_required`, `conflict`, `illegal_transition`."""
    _merge(unit, body.id)
    return _pull(unit, _find(unit, body.id))


def _merge(unit: Unit, id_: str, *, as_bot: bool = False) -> str:
    row = _find(unit, id_)
    if row.state != "open":
        raise Problem(
            "illegal_transition", f"the promotion is {row.state}", hint="Open a new one.", allowed=[]
        )
    source = repositories.branch_by_id(unit, row.source_branch_id, lock=True)
    target = repositories.branch_by_id(unit, row.target_branch_id, lock=True)
    found = preview(unit, source, target)
    if found.digest != row.diff_hash:
        raise Problem(
            "conflict", "the branch has changed since this promotion was opened, so its approval is void",
            hint="Promote again: the new change gets an approval of its own.", conflicts=[],
        )  # fmt: skip
    failed = [c for c in run_checks(unit, found) if not c.ok]
    if failed:
        raise Problem(
            "conflict", f"checks fail: {', '.join(c.name for c in failed)}",
            hint="Bring main into your branch with updateSandbox, settle the conflicts, and promote again.",
            conflicts=[c.model_dump() for c in failed],
        )  # fmt: skip
    rules = _may_merge(unit, row, source, target, found, as_bot=as_bot)
    title = row.title if row.mode == "pr" else f"Release {row.version}: {row.title}"
    landed = land(unit, source, target, found, title=title, pull_id=id_, version=row.version, rules=rules)
    unit.execute(
        sa.update(pulls)
        .where(pulls.c.id == id_)
        .values(state="merged", merge_sha=landed.sha, tag=landed.tag, merged_at=unit.now)
    )
    return landed.sha


def _may_merge(
    unit: Unit, row: sa.Row[Any], source: Branch, target: Branch, found: Preview, *, as_bot: bool
) -> tuple[str, ...]:
    """Ask the policy; an approval counts only for exactly this diff."""
    action: policy.Action = "git.release" if row.mode == "release" else "pull.merge"
    resource = _resource(unit, row.id, source, target)
    context = RequestContext(diff_hash=found.digest, requested_by=row.created_by)
    if as_bot:
        return prbot.may_merge(unit, resource, context)
    approved = approvals.is_approved(unit, action="pull.merge", object_=row.id, diff_hash=found.digest)
    digests = (
        frozenset({policy.decide(unit, action, resource, context).digest}) if approved else frozenset[str]()
    )
    return policy.require(unit, action, resource, context, digests).rules


def review(unit: Unit, body: ReviewIn) -> Pull:
    """Comment on a promotion, or decide the approval that it waits for."""
    row = _find(unit, body.id)
    source = repositories.branch_by_id(unit, row.source_branch_id)
    target = repositories.branch_by_id(unit, row.target_branch_id)
    policy.require(unit, "pull.review", _resource(unit, row.id, source, target))
    if body.comment:
        _comment(unit, row.id, unit.actor.name, body.comment)
    if body.verdict != "comment":
        if row.approval_id is None:
            raise Problem(
                "illegal_transition",
                "this promotion waits for no approval",
                hint="Merge it, or comment.",
                allowed=["comment"],
            )
        decide = approvals.DecideIn(id=row.approval_id, decision=body.verdict, comment=body.comment)
        approvals.decide_on(unit, decide)
    return _pull(unit, _find(unit, body.id))


def _comment(unit: Unit, id_: str, who: str, text: str) -> None:
    row = _find(unit, id_)
    comments = [*row.comments, {"by": who, "at": rfc3339(unit.now), "text": text}][-200:]
    unit.execute(sa.update(pulls).where(pulls.c.id == id_).values(comments=comments))
    ledger.record(unit, "promotion.commented", id_, {"by": who})


def show(unit: Unit, body: PullIn) -> PullDetail:
    """One promotion with the diff as it was opened."""
    row = _find(unit, body.id)
    source = repositories.branch_by_id(unit, row.source_branch_id)
    target = repositories.branch_by_id(unit, row.target_branch_id)
    policy.require(unit, "pull.read", _resource(unit, row.id, source, target))
    at = replace(source, tip=row.head_sha), replace(target, tip=row.base_sha)
    found = preview(unit, *at)
    text, _, _ = unified_diff(found.batch, _base_tree(found), found.theirs.tree)
    return PullDetail(
        **_pull(unit, row).model_dump(), diff=text[:MAX_DIFF_CHARS], truncated=len(text) > MAX_DIFF_CHARS
    )


def listed(unit: Unit, body: PullListIn) -> PullList:
    """Promotions, newest first; a sandbox user sees the own ones."""
    c = pulls.c
    key = list_key("pulls", repo=body.repo_name, branch=body.branch, state=body.state)
    wanted = sa.select(pulls).order_by(c.id.desc()).limit(body.limit + 1)
    wanted = wanted.where(*_scope(unit, body))
    last = decode_cursor(key, body.cursor)
    if last is not None:
        wanted = wanted.where(c.id < str(last[0]))
    rows = unit.execute(wanted).all()
    items = [_pull(unit, r) for r in rows[: body.limit]]
    return PullList(
        items=items, next_cursor=encode_cursor(key, [items[-1].id]) if len(rows) > body.limit else None
    )


def _scope(unit: Unit, body: PullListIn) -> list[sa.ColumnElement[bool]]:
    c = pulls.c
    where: list[sa.ColumnElement[bool]] = []
    if unit.actor.sandbox_id is not None:
        resource = Resource(kind="sandbox", id=unit.actor.sandbox_id, org_id=unit.org_id, repo_id=unit.actor.repo_id,
                            sandbox_id=unit.actor.sandbox_id)  # fmt: skip
        policy.require(unit, "sandbox.read", resource)
        where.append(c.source_branch_id == "br_" + unit.actor.sandbox_id.removeprefix("sbx_"))
    else:
        policy.require(unit, "sandbox.list", policy.org_resource(unit))
    if body.repo_name is not None:
        repo = repositories.find_repository(unit, body.repo_name)
        where.append(c.repo_id == repo.id)
        if body.branch is not None:
            branch = repositories.find_branch(unit, repo.id, body.branch)
            where.append(c.source_branch_id == (branch.id if branch else ""))
    if body.state is not None:
        where.append(c.state == body.state)
    return where


def _find(unit: Unit, id_: str) -> sa.Row[Any]:
    row = unit.execute(sa.select(pulls).where(pulls.c.id == id_)).one_or_none()
    if row is None:
        raise Problem("not_found", "there is no such promotion", hint="List the promotions first.")
    return row


def _pull(unit: Unit, row: sa.Row[Any]) -> Pull:
    values = as_dict(row)
    source = repositories.branch_by_id(unit, values.pop("source_branch_id"))
    target = repositories.branch_by_id(unit, values.pop("target_branch_id"))
    for hidden in ("org_id", "repo_id"):
        values.pop(hidden)
    return Pull(**values, repo_name=source.repo_name, branch=source.name, target=target.name)
