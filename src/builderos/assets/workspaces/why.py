"""Why a line of code is there: a story that begins with the line and ends with the person who said yes."""

from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import Field

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import MAIN, Branch
from builderos.assets.repositories.service import RepositoryStore
from builderos.core.problems import Problem
from builderos.core.schema import In, ToolOut
from builderos.core.unit import Unit

from .content import tip_of
from .places import BranchIn, BranchName, RepoName, locate
from .provenance import Brought, Edge, Origin, commit_at, told

BLAME_S: Final = 20.0
MAX_LINE: Final = 500


class WhyIn(In):
    """Which line."""

    repo_name: RepoName = None
    branch: BranchName = None
    path: Annotated[str, Field(description="File, e.g. src/a.py.", min_length=1, max_length=4096)]
    line: Annotated[int, Field(description="Number of the line, from 1.", ge=1, le=10_000_000)]


class WhyOut(ToolOut):
    """The line, the commit that wrote it, and how that commit came here. `story` says it in plain words."""

    path: str
    line: int
    text: str
    commit: Origin
    promotions: list[Brought]
    edges: list[Edge]
    story: list[str]


def why(unit: Unit, body: WhyIn) -> WhyOut:
    """Raises `not_found` for an unknown branch or file, `validation_failed` for a line that the file does not have."""
    name = body.branch or unit.actor.branch or MAIN
    place = locate(unit, BranchIn(repo_name=body.repo_name, branch=name), "git.log")
    text = _line_of(unit, place.branch, body)
    sha = _blame(unit, place.branch, body.path, body.line)
    known = told(unit, commit_at(unit, place.branch, sha))
    assert known.commit is not None
    story = _story(known.commit, known.promotions)
    return WhyOut(
        repo_name=place.repo_name, branch=place.branch.name, path=body.path, line=body.line, text=text[:MAX_LINE],
        commit=known.commit, promotions=known.promotions, edges=known.edges, story=story,
        message=f"Line {body.line} of {body.path} on branch {place.branch.name} of {place.repo_name}: {story[0]}",
    )  # fmt: skip


def _line_of(unit: Unit, branch: Branch, body: WhyIn) -> str:
    content = tip_of(unit, branch).read(body.path)
    if content is None:
        raise Problem(
            "not_found",
            f"branch {branch.name} has no file {body.path}",
            hint="fetchFiles lists what is there.",
        )
    lines = content.split(b"\n")
    count = len(lines) - (lines[-1] == b"")
    if body.line > count:
        raise Problem("validation_failed", f"{body.path} has {count} lines", hint="Name one of them.")
    return lines[body.line - 1].decode("utf-8", "replace")


def _blame(unit: Unit, branch: Branch, path: str, line: int) -> str:
    """The commit that wrote a line, through merges and renames."""
    store = unit.get(RepositoryStore).path(branch.store)
    args = ["blame", "--porcelain", "-L", f"{line},{line}", branch.tip, "--", path]
    done = repositories.run_git(args, cwd=store, timeout_s=BLAME_S)
    sha = done.stdout[:40].decode("ascii", "replace")
    if done.returncode or len(sha) != 40:
        raise Problem(
            "unavailable",
            "the history of this file cannot be read",
            hint="Ask an administrator to run doctor.",
        )
    return sha


def _story(commit: Origin, promotions: list[Brought]) -> list[str]:
    subject = commit.message.partition("\n")[0]
    story = [f'Commit {commit.sha[:10]} "{subject}" wrote it.', *_told_act(commit)]
    for step in promotions:
        into = f" as {step.merge_sha[:10]}" if step.merge_sha else ""
        at = f" on {_day(step.merged_at)}" if step.merged_at else ""
        story.append(
            f'Promotion {step.id} "{step.title}" brought it from {step.source} into {step.target}{into}{at}.'
        )
        story += _told_approval(step)
    return story


def _told_act(commit: Origin) -> list[str]:
    act = commit.act
    if act is None:
        return [
            f"{commit.author} made it on {_day(commit.at)}, before the repository came here: no line tells of it."
        ]
    tool = f" with {act.tool}" if act.tool else ""
    where = (
        f"on {_day(commit.at)} on branch {commit.branch} through {act.door}{tool}, request {act.request_id}"
    )
    told = [f"{act.actor_name} ({act.role}) made it {where}."]
    said = {
        "agent": commit.agent_version,
        "prompt": commit.prompt_version,
        "task": commit.task_id,
        "run": commit.run_id,
    }
    named = [f"{name} {value}" for name, value in said.items() if value]
    told += [f"It names {', '.join(named)}."] if named else []
    rules = f"Allowed by {', '.join(act.rules)}; " if act.rules else ""
    return [*told, f"{rules}{'it is' if rules else 'It is'} line {act.seq} of the ledger."]


def _told_approval(step: Brought) -> list[str]:
    approval = step.approval
    if approval is None:
        merged_by = f"{step.act.actor_name} ({step.act.role})" if step.act is not None else "somebody"
        return [f"No approval was needed; {merged_by} merged it."]
    told: list[str] = []
    for said in approval.decisions:
        verb = "approved" if said.verdict == "approve" else "denied"
        words = f': "{said.comment}"' if said.comment else ""
        own = ", the own request," if approval.self_approved and said.who == approval.requested_by else ""
        told.append(
            f"{said.name}{own} {verb} exactly this change ({approval.diff_hash[:19]}…) on {said.when}{words}."
        )
    return told or [f"Approval {approval.id} is {approval.state}."]


def _day(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
