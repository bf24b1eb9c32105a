"""Promotion: the only way into `main`. A pull request with diff, checks and an approval bound to exactly that diff."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import sqlalchemy as sa
from pydantic import Field

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import MAIN, Branch
from builderos.assets.repositories.service import Batch, decode_commit
from builderos.core.ids import new_id
from builderos.core.operations import Reply
from builderos.core.problems import Problem
from builderos.core.schema import Line, Name, ToolOut
from builderos.core.unit import Unit
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import RequestContext, Resource
from builderos.trust.policy.service import Approval, approvals
from builderos.trust.vault import service as vault

from . import prbot
from .checks import Check, run_checks
from .history import unified_diff
from .landing import ensure_unreleased, land
from .merging import Preview, preview
from .model import pulls
from .places import BranchWriteIn, Place, branch_resource, locate
from .ports import HostPull
from .provenance import prompt_version_of
from .pulls import MergeIn, Pull, PullState, add_comment, as_pull, find_pull, host_of, pull_resource
from .refresh import Resolution, bring_main
from .writing import DiffStat

SEMVER: Final = r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$"

_RECORDED: Final = (
    "source_branch_id",
    "target_branch_id",
    "mode",
    "version",
    "base_sha",
    "diff_stat",
    "checks",
)


class PromoteIn(BranchWriteIn):
    """What to promote, and where to."""

    target: Annotated[Name, Field(description="Branch to promote into; main by default.")] = MAIN
    mode: Annotated[Literal["pr", "release"], Field(description="pr: merge. release: merge and tag.")] = "pr"
    title: Annotated[Line, Field(description="What this promotion brings.", min_length=1)]
    version: Annotated[
        str | None, Field(description="mode release: version, e.g. 1.2.0.", pattern=SEMVER, max_length=50)
    ] = None
    resolutions: Annotated[
        list[Resolution],
        Field(
            description="Where main changed the same lines: how these files shall be. Brings main in first.",
            max_length=100,
        ),
    ] = []


class PromoteOut(ToolOut):
    """An open promotion. `approval_id` is set while it waits for a yes."""

    promotion_id: str
    pr_url: str
    state: PullState
    checks: list[Check]
    approval_id: str | None
    merge_sha: str | None = None


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
    if (body.version or "").endswith(".lock"):
        raise Problem(
            "validation_failed", "git keeps names that end with .lock", hint="Choose another version."
        )
    place = locate(unit, body, "git.diff", lock=True)
    body = body.model_copy(update={"title": vault.clean_text(unit, body.title)})
    if body.resolutions:
        place = _settle(unit, place, body)
    source = place.branch
    target = _target(unit, source, body.target)
    known = _open_pull(unit, source, target)
    id_ = known.id if known is not None else new_id("pul")
    decision = policy.require(unit, "git.promote", pull_resource(unit, id_, source, target))
    if body.version is not None:
        ensure_unreleased(unit, target, body.version)
    found = preview(unit, source, target)
    if not found.files and not found.entries and body.mode == "pr":
        raise Problem(
            "conflict", f"{source.name} has nothing that {target.name} lacks", hint="Commit something first."
        )
    _ask_paths(unit, "git.promote", pull_resource(unit, id_, source, target), found)
    checks = run_checks(unit, found)
    text, _, stat = unified_diff(found.batch, found.base_tree, found.theirs.tree)
    values = _values(unit, body, source, target, found, checks, stat)
    payload = {"repo": source.repo_name, "branch": source.name, "target": target.name, "head": source.tip,
               "diff_hash": values["diff_hash"], "title": body.title}  # fmt: skip
    green = all(c.ok for c in checks)
    approval_id = (
        _ask(unit, id_, body, source, target, found, values["diff_hash"], text, stat, first=known is None)
        if green and target.kind == "main"
        else None
    )
    _save(unit, id_, known is not None, {**values, "approval_id": approval_id})
    payload |= {name: values[name] for name in _RECORDED} | {"approval_id": approval_id}
    ledger.record(unit, "promotion.opened", id_, payload, rules=decision.rules)
    url = host_of(unit, source).open_pull(unit, HostPull(id_, source, target, body.title, text))
    merged = _try_bot(unit, id_, target, checks, stat, found) if green else None
    return _reply(place, target, _opened(id_, url, checks, approval_id, merged))


def _ask_paths(unit: Unit, action: policy.Action, resource: Resource, found: Preview) -> None:
    policy.require_paths(unit, action, resource, (path for path, _, _ in found.files))


def _settle(unit: Unit, place: Place, body: PromoteIn) -> Place:
    """Bring main into the branch with the caller's resolutions; the place as it is after that."""
    if body.target != MAIN:
        raise Problem(
            "validation_failed",
            "resolutions settle conflicts with main alone",
            hint="Send target main, or none.",
        )
    decision = policy.require(unit, "sandbox.reset", branch_resource(unit, place.branch))
    bring_main(unit, Place(place.branch, decision.rules, "sandbox.reset"), body.resolutions)
    return Place(repositories.branch_by_id(unit, place.branch.id, lock=True), place.rules)


def bound(found: Preview, mode: str, version: str | None, title: str) -> str:
    """What an approval is bound to: the diff, and the words and the tag that go to main with it."""
    said = json.dumps([found.digest, mode, version, title])
    return "sha256:" + hashlib.sha256(said.encode()).hexdigest()


def _landing(mode: str) -> policy.Action:
    """As what a promotion of this mode is asked about."""
    return "git.release" if mode == "release" else "pull.merge"


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
        "base_sha": target.tip, "diff_hash": bound(found, body.mode, body.version, body.title),
        "diff_stat": stat.model_dump(),
        "checks": [c.model_dump() for c in checks], "created_by": unit.actor.id, "created_at": unit.now,
    }  # fmt: skip


def _save(unit: Unit, id_: str, exists: bool, values: Mapping[str, Any]) -> None:
    if exists:
        kept = {k: v for k, v in values.items() if k not in ("created_by", "created_at")}
        unit.execute(sa.update(pulls).where(pulls.c.id == id_).values(**kept))
    else:
        unit.add(pulls, id=id_, comments=[], **values)


def _ask(
    unit: Unit,
    id_: str,
    body: PromoteIn,
    source: Branch,
    target: Branch,
    found: Preview,
    diff_hash: str,
    text: str,
    stat: DiffStat,
    *,
    first: bool,
) -> str:
    gone = [path for path, _, new in found.files if not new]
    risk, reasons = policy.assess(
        target=target.name, main=target.kind == "main", paths=[path for path, _, _ in found.files], deleted=gone,
        lines=stat.added + stat.deleted,
    )  # fmt: skip
    return approvals.request(
        unit, action=_landing(body.mode), object_=id_, diff=text, diff_stat=stat.model_dump(), diff_hash=diff_hash,
        reason=f"{body.title} ({source.name} → {target.name} of {source.repo_name})", risk=risk, risk_reasons=reasons,
        where={"repo": source.repo_name, "branch": source.name},
        requested_by=unit.actor.id, prompt_version=_prompt_version(unit, source, found.batch), first=first,
    )  # fmt: skip


def _prompt_version(unit: Unit, source: Branch, batch: Batch) -> str | None:
    """The prompt that the maker of the newest commit has named: a claim, kept as it was made."""
    line = ledger.line_of_commit(unit, source.tip)
    commit = decode_commit(batch.read(bytes.fromhex(source.tip))[1])
    return prompt_version_of(line["payload"] if line is not None else {}, dict(commit.trailers))


def _try_bot(
    unit: Unit, id_: str, target: Branch, checks: list[Check], stat: DiffStat, found: Preview
) -> str | None:
    """PRBot comments, and merges what it may; returns the merge commit."""
    wanted = policy.document_in_force(unit).prbot_enabled
    if not (unit.settings.prbot if wanted is None else wanted):
        return None
    verdict = prbot.judge(unit, target, stat, found)
    add_comment(unit, id_, "PRBot", verdict.summary)
    return merge_now(unit, id_, as_bot=True) if verdict.approves and all(c.ok for c in checks) else None


def _opened(
    id_: str, url: str, checks: list[Check], approval_id: str | None, merged: str | None
) -> dict[str, Any]:
    state: PullState = "merged" if merged else "open"
    return {
        "promotion_id": id_, "pr_url": url, "state": state, "checks": checks, "approval_id": approval_id,
        "merge_sha": merged,
    }  # fmt: skip


def _reply(place: Place, target: Branch, opened: dict[str, Any]) -> Reply[PromoteOut]:
    failed = [c.name for c in opened["checks"] if not c.ok]
    approval_id, merged = opened["approval_id"], opened["merge_sha"]
    where = f"branch {place.branch.name} of {place.repo_name}"
    if merged:
        message = f"Promoted {where} into {target.name} as {merged[:10]}."
    elif failed:
        message = f"The promotion of {where} is open, but these checks fail: {', '.join(failed)}."
        if failed == ["merges_cleanly"] and target.kind == MAIN:
            message += (
                " Read the files named there on main, then promote again with resolutions: [{path, content}]."
            )
    elif approval_id:
        message = f"The promotion of {where} is open and waits for an approval ({approval_id})."
    else:
        message = f"The promotion of {where} into {target.name} is open; an owner or reviewer can merge it."
    out = PromoteOut(repo_name=place.repo_name, branch=place.branch.name, message=message, **opened)
    return Reply(202 if approval_id else 200, out)


def on_verdict(unit: Unit, approval: Approval) -> None:
    """An approval of a promotion was decided: merge on a yes, close on a no, all in the reviewer's unit."""
    row = find_pull(unit, approval.object)
    if row.state != "open":
        raise Problem(
            "illegal_transition", f"the promotion is {row.state}", hint="Open a new one.", allowed=[]
        )
    if approval.state == "approved":
        merge_now(unit, row.id, row=row)
    elif approval.state == "denied":
        unit.execute(sa.update(pulls).where(pulls.c.id == row.id).values(state="closed"))


def merge_now(unit: Unit, id_: str, *, as_bot: bool = False, row: sa.Row[Any] | None = None) -> str:
    """Merge an open promotion whose gates still hold for exactly its diff; returns the merge commit."""
    row = find_pull(unit, id_) if row is None else row
    if row.state != "open":
        raise Problem(
            "illegal_transition", f"the promotion is {row.state}", hint="Open a new one.", allowed=[]
        )
    source = repositories.branch_by_id(unit, row.source_branch_id, lock=True)
    target = repositories.branch_by_id(unit, row.target_branch_id, lock=True)
    if not as_bot:
        _refuse_strangers(unit, row, source, target)
    found = preview(unit, source, target)
    if bound(found, row.mode, row.version, row.title) != row.diff_hash:
        raise Problem(
            "conflict", "the branch has changed since this promotion was opened, so its approval is void",
            hint="Promote again: the new change gets an approval of its own.", conflicts=[],
        )  # fmt: skip
    failed = [c for c in run_checks(unit, found) if not c.ok]
    if failed:
        raise Problem(
            "conflict", f"checks fail: {', '.join(c.name for c in failed)}",
            hint="Promote again with resolutions: [{path, content}] for the files in conflict.",
            conflicts=[c.model_dump() for c in failed],
        )  # fmt: skip
    rules = _may_merge(unit, row, source, target, as_bot=as_bot)
    merging: policy.Action = _landing(row.mode)
    _ask_paths(unit, merging, pull_resource(unit, row.id, source, target), found)
    title = row.title if row.mode == "pr" else f"Release {row.version}: {row.title}"
    landed = land(unit, source, target, found, title=title, pull_id=id_, version=row.version, rules=rules)
    unit.execute(
        sa.update(pulls)
        .where(pulls.c.id == id_)
        .values(state="merged", merge_sha=landed.sha, tag=landed.tag, merged_at=unit.now)
    )
    host_of(unit, target).merged(unit, id_, target, landed.sha)
    return landed.sha


def _refuse_strangers(unit: Unit, row: sa.Row[Any], source: Branch, target: Branch) -> None:
    """Who may not merge even with an approval learns nothing of the promotion's state."""
    action: policy.Action = _landing(row.mode)
    resource = pull_resource(unit, row.id, source, target)
    decision = policy.decide(unit, action, resource)
    if decision.verdict == "deny":
        raise policy.Refused(decision, action, resource)


def _may_merge(
    unit: Unit, row: sa.Row[Any], source: Branch, target: Branch, *, as_bot: bool
) -> tuple[str, ...]:
    """Ask the policy; an approval counts only for exactly this diff."""
    action: policy.Action = _landing(row.mode)
    resource = pull_resource(unit, row.id, source, target)
    context = RequestContext(diff_hash=row.diff_hash, requested_by=row.created_by)
    if as_bot:
        return prbot.may_merge(unit, resource, context)
    approved = approvals.is_approved(unit, action=action, object_=row.id, diff_hash=row.diff_hash)
    digests = (
        frozenset({policy.decide(unit, action, resource, context).digest}) if approved else frozenset[str]()
    )
    return policy.require(unit, action, resource, context, digests).rules


def merge(unit: Unit, body: MergeIn) -> Pull:
    """Merge a promotion. Raises `approval_required`, `conflict`, `illegal_transition`."""
    merge_now(unit, body.id)
    return as_pull(unit, find_pull(unit, body.id))
