"""Pull requests as people look at them: list, show, review. `promotion` opens and merges them."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.dialects.postgresql import JSONB

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import Branch
from builderos.core.clock import rfc3339
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.schema import In, Line, Name, Out, Text, WriteIn
from builderos.core.tables import as_dict
from builderos.core.unit import Unit
from builderos.trust.audit.service import access
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource
from builderos.trust.policy.service import approvals

from .checks import Check
from .history import unified_diff
from .merging import preview
from .model import pulls
from .places import sandbox_id_of
from .ports import GitHost, GitHosts

MAX_DIFF_CHARS: Final = 60_000
PullState = Literal["open", "merged", "closed"]


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


def pull_resource(unit: Unit, id_: str, source: Branch, target: Branch) -> Resource:
    """A promotion as the policy sees it."""
    return Resource(
        kind="pull", id=id_, org_id=unit.org_id, repo_id=source.repo_id, branch_kind=source.kind,
        sandbox_id=sandbox_id_of(source), target_kind=target.kind, target_sandbox_id=sandbox_id_of(target),
        default_write=source.name == unit.settings.default_write_branch, project=target.repo_name, branch=target.name,
    )  # fmt: skip


def review(unit: Unit, body: ReviewIn) -> Pull:
    """Comment on a promotion, or decide the approval that it waits for."""
    row = find_pull(unit, body.id)
    source = repositories.branch_by_id(unit, row.source_branch_id)
    target = repositories.branch_by_id(unit, row.target_branch_id)
    policy.require(unit, "pull.review", pull_resource(unit, row.id, source, target))
    if body.comment:
        host_of(unit, source).comment(unit, row.id, body.comment)
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
    return as_pull(unit, find_pull(unit, body.id), source, target)


def add_comment(unit: Unit, id_: str, who: str, text: str) -> int:
    """Keep a comment with a promotion; returns its number. The last 200 are kept."""
    row = find_pull(unit, id_)
    said = {"by": who, "who": unit.actor.member_id or unit.actor.id, "at": rfc3339(unit.now), "text": text}
    comments = [*row.comments, said][-200:]
    unit.execute(sa.update(pulls).where(pulls.c.id == id_).values(comments=comments))
    ledger.record(unit, "promotion.commented", id_, {"by": who})
    return len(comments)


def forget_words(unit: Unit, who: str) -> int:
    """Take away the comments and titles that somebody (a member's or actor's id) gave promotions; returns how many.

    The title of an open one stays: what was approved is bound to it.
    """
    mine = pulls.c.comments.op("@>", is_comparison=True)(sa.cast([{"who": who}], JSONB))
    count = 0
    for row in unit.execute(sa.select(pulls.c.id, pulls.c.comments).where(mine).with_for_update()).all():
        left = [said for said in row.comments if said.get("who") != who]
        count += len(row.comments) - len(left)
        unit.execute(sa.update(pulls).where(pulls.c.id == row.id).values(comments=left))
    # From a workspace, the program asks and the approval knows for whom.
    whose = sa.or_(pulls.c.created_by == who, pulls.c.id.in_(policy.parting.objects_asked_by(unit, who)))
    titled = sa.update(pulls).where(whose, pulls.c.state != "open", pulls.c.title != "")
    return count + unit.execute(titled.values(title="")).rowcount


def host_of(unit: Unit, branch: Branch) -> GitHost:
    """The git host of the branch's repository."""
    return unit.get(GitHosts).get(branch.host)


def show(unit: Unit, body: PullIn) -> PullDetail:
    """One promotion with the diff as it was opened."""
    row = find_pull(unit, body.id)
    source = repositories.branch_by_id(unit, row.source_branch_id)
    target = repositories.branch_by_id(unit, row.target_branch_id)
    policy.require(unit, "pull.read", pull_resource(unit, row.id, source, target))
    at = replace(source, tip=row.head_sha), replace(target, tip=row.base_sha)
    found = preview(unit, *at)
    text, files, _ = unified_diff(found.batch, found.base_tree, found.theirs.tree)
    if files:
        paths = [file.path for file in files]
        access.note(unit, "pull.read", row.id, repo=source.repo_name, branch=source.name, paths=paths)
    pull = as_pull(unit, row, source, target).model_dump()
    return PullDetail(**pull, diff=text[:MAX_DIFF_CHARS], truncated=len(text) > MAX_DIFF_CHARS)


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
    items = [as_pull(unit, r) for r in rows[: body.limit]]
    return PullList(
        items=items, next_cursor=encode_cursor(key, [items[-1].id]) if len(rows) > body.limit else None
    )


def _scope(unit: Unit, body: PullListIn) -> list[sa.ColumnElement[bool]]:
    c = pulls.c
    where: list[sa.ColumnElement[bool]] = []
    if unit.actor.sandbox_id is not None:
        mine = repositories.branch_by_id(unit, "br_" + unit.actor.sandbox_id.removeprefix("sbx_"))
        resource = Resource(
            kind="sandbox", id=unit.actor.sandbox_id, org_id=unit.org_id, repo_id=mine.repo_id,
            sandbox_id=unit.actor.sandbox_id, project=mine.repo_name, branch=mine.name,
        )  # fmt: skip
        policy.require(unit, "sandbox.read", resource)
        where.append(c.source_branch_id == mine.id)
    else:
        policy.require(unit, "pull.list", policy.org_resource(unit))
    if body.repo_name is not None:
        repo = repositories.find_repository(unit, body.repo_name)
        if unit.actor.sandbox_id is None:  # of a workspace, its own project has been asked about
            policy.require(unit, "pull.list", replace(policy.org_resource(unit), project=repo.name))
        where.append(c.repo_id == repo.id)
        if body.branch is not None:
            branch = repositories.find_branch(unit, repo.id, body.branch)
            where.append(c.source_branch_id == (branch.id if branch else ""))
    if body.state is not None:
        where.append(c.state == body.state)
    return where


def find_pull(unit: Unit, id_: str) -> sa.Row[Any]:
    """The row of a promotion; raises `not_found`. A credential of one sandbox finds only what comes from its branch."""
    wanted = sa.select(pulls).where(pulls.c.id == id_)
    if unit.actor.sandbox_id is not None:
        wanted = wanted.where(pulls.c.source_branch_id == "br_" + unit.actor.sandbox_id.removeprefix("sbx_"))
    row = unit.execute(wanted).one_or_none()
    if row is None:
        raise Problem("not_found", "there is no such promotion", hint="List the promotions first.")
    return row


def as_pull(unit: Unit, row: sa.Row[Any], source: Branch | None = None, target: Branch | None = None) -> Pull:
    """A row as reviewers see it; its branches are looked up where the caller has not."""
    values = as_dict(row)
    source = source or repositories.branch_by_id(unit, row.source_branch_id)
    target = target or repositories.branch_by_id(unit, row.target_branch_id)
    for hidden in ("org_id", "repo_id", "source_branch_id", "target_branch_id"):
        values.pop(hidden)
    return Pull(**values, repo_name=source.repo_name, branch=source.name, target=target.name)
