"""Bring a sandbox to another state: to main, to an earlier commit, to a backup; or bring main's news into it."""

from collections.abc import Sequence
from typing import Annotated

import sqlalchemy as sa
from pydantic import Field

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import MAIN
from builderos.assets.repositories.service import check_path
from builderos.core.problems import Problem
from builderos.core.schema import In, Line, Text, ToolOut, WriteIn
from builderos.core.unit import Unit
from builderos.trust.policy import service as policy

from .content import TreeFiles, batch_of, tree_of
from .guarding import guard_settled
from .history import commit_on
from .landing import land
from .merging import preview
from .model import backups
from .places import Place, ask_paths, branch_resource
from .sandboxes import sandbox_row
from .undo import bring_to, conflict_problem
from .writing import DiffStat


class ResetIn(WriteIn):
    """Where to go back to."""

    id: Line
    to: Annotated[Line, Field(description="main, a commit of the branch, or a backup id.")]
    reason: Annotated[Text, Field(description="Why.", max_length=5000)] = ""


class ResetOut(ToolOut):
    """The commit that brought the branch there; null when it was there already."""

    commit_sha: str | None
    diff_stat: DiffStat


class Resolution(In):
    """How a conflict is settled: the whole content of the file, or null to delete it."""

    path: Annotated[str, Field(max_length=8192)]
    content: str | None


class UpdateIn(WriteIn):
    """Bring main's news into a sandbox."""

    id: Line
    resolutions: Annotated[
        list[Resolution], Field(description="Settled conflicts of an earlier try.", max_length=100)
    ] = []


class UpdateOut(ToolOut):
    """The merge commit; null when the branch had everything already."""

    commit_sha: str | None


def reset(unit: Unit, body: ResetIn) -> ResetOut:
    """One new commit whose files equal the target's; logs are kept. Raises `not_found` for an unknown target."""
    place = _place(unit, body.id)
    batch = batch_of(unit, place.branch)
    sha = _point(unit, place, body.to)
    details = {"to": body.to, "reason": body.reason}
    message = f"Reset to {body.to}" + (f"\n\nReason: {body.reason}" if body.reason else "")
    target = tree_of(batch, sha)
    written = bring_to(unit, place, batch, target, message=message, event="reset", details=details)
    stat = written.stat if written else DiffStat(files=0, added=0, deleted=0)
    return ResetOut(
        commit_sha=written.sha if written else None, diff_stat=stat, repo_name=place.repo_name,
        branch=place.branch.name,
        message=f"Branch {place.branch.name} of {place.repo_name} has the files of {body.to} now: "
        f"{stat.files} changed.",
    )  # fmt: skip


def _place(unit: Unit, sandbox_id: str) -> Place:
    row = sandbox_row(unit, sandbox_id)
    branch = repositories.branch_by_id(unit, row.branch_id, lock=True)
    decision = policy.require(unit, "sandbox.reset", branch_resource(unit, branch))
    if branch.state != "active":
        raise Problem(
            "illegal_transition",
            f"the branch is {branch.state}",
            hint="Resume or renew the sandbox.",
            allowed=[],
        )
    return Place(branch, decision.rules, "sandbox.reset")


def _point(unit: Unit, place: Place, to: str) -> str:
    if to == MAIN:
        return repositories.main_branch(unit, place.branch.repo_id).tip
    if to.startswith("bak_"):
        c = backups.c
        found = unit.execute(
            sa.select(c.commit_sha).where(c.id == to, c.branch_id == place.branch.id)
        ).scalar()
        if found is None:
            raise Problem("not_found", "this branch has no such backup", hint="listBackups shows them.")
        return found
    if len(to) != 40 or any(ch not in "0123456789abcdef" for ch in to):
        raise Problem(
            "validation_failed", "`to` is main, a commit sha or a backup id", hint="gitLog lists the commits."
        )
    return commit_on(unit, place.branch, to)


def _settled(unit: Unit, resolution: Resolution) -> bytes | None:
    if resolution.content is None:
        return None
    if "\x00" in resolution.content:
        raise Problem("validation_failed", f"{resolution.path} contains a NUL character")
    data, limit = resolution.content.encode(), unit.settings.max_text_file
    if len(data) > limit:
        raise Problem(
            "payload_too_large", f"{resolution.path} has {len(data)} bytes; the limit is {limit}",
            hint="Split the file, or keep large data outside of git.", limit=limit, used=len(data),
        )  # fmt: skip
    return data


def _blob_of(tree: TreeFiles, path: str) -> bytes | None:
    return None if tree.entry(path) is None else tree.read(path)


def update(unit: Unit, body: UpdateIn) -> UpdateOut:
    """Merge main into the sandbox. Raises `conflict` with `conflicts[]`; send them back settled as `resolutions`."""
    place = _place(unit, body.id)
    sha = bring_main(unit, place, body.resolutions)
    where = f"Branch {place.branch.name} of {place.repo_name} has"
    message = f"{where} everything of main already." if sha is None else f"{where} main's news now."
    return UpdateOut(commit_sha=sha, repo_name=place.repo_name, branch=place.branch.name, message=message)


def bring_main(unit: Unit, place: Place, resolutions: Sequence[Resolution]) -> str | None:
    """Merge main into the place's branch; the merge commit, or None where there is no news. Raises `conflict`."""
    main = repositories.main_branch(unit, place.branch.repo_id)
    settled = {check_path(r.path): _settled(unit, r) for r in resolutions}
    found = preview(unit, main, place.branch, settled)
    if found.conflicts:
        raise conflict_problem(
            found.conflicts, "main and your branch changed the same lines",
            "Send the call again with resolutions: [{path, content}] for each of these files.",
        )  # fmt: skip
    if not found.files and not found.entries:
        return None
    news = TreeFiles(found.batch, tree_of(found.batch, main.tip))
    ask_paths(unit, place, settled, lambda path: _blob_of(news, path) == settled[path])
    guard_settled(unit, place, found, settled)
    title = f"Bring main into {place.branch.name}"
    sha = land(
        unit, main, place.branch, found, title=title, pull_id=None, version=None, rules=place.rules
    ).sha
    repositories.set_branch(unit, place.branch.id, base_sha=main.tip)
    return sha
