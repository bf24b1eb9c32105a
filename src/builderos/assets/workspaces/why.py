"""Why a line of code is there: a story that begins with the line and ends with the person who said yes."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import Field

from builderos.assets.repositories.schema import MAIN, Branch
from builderos.core.problems import Problem
from builderos.core.schema import In, Out, ToolOut
from builderos.core.unit import Unit
from builderos.trust.audit.service import access
from builderos.trust.orgs import service as orgs

from .content import tip_of
from .places import BranchIn, BranchName, RepoName, locate
from .ports import Authors
from .provenance import Brought, Edge, Found, Origin, commit_at, origin_of, told
from .restored import Before, blamed, sources

MAX_LINE: Final = 500


class WhyIn(In):
    """Which line."""

    repo_name: RepoName = None
    branch: BranchName = None
    path: Annotated[str, Field(description="File, e.g. src/a.py.", min_length=1, max_length=4096)]
    line: Annotated[int, Field(description="Number of the line, from 1.", ge=1, le=10_000_000)]


class Earlier(Out):
    """What an undo undid, and the commit that had written the line before."""

    undid: str
    commit: Origin


class WhyOut(ToolOut):
    """The line, the commit that wrote it, and how that commit came here. `story` says it in plain words."""

    path: str
    line: int
    text: str
    commit: Origin
    promotions: list[Brought]
    earlier: Annotated[
        list[Earlier],
        Field(description="Where the commit is an undo: who wrote the line that it brought back."),
    ]
    edges: list[Edge]
    story: list[str]


def why(unit: Unit, body: WhyIn) -> WhyOut:
    """Raises `not_found` for an unknown branch or file, `validation_failed` for a line that the file does not have."""
    name = body.branch or unit.actor.branch or MAIN
    place = locate(unit, BranchIn(repo_name=body.repo_name, branch=name), "git.log")
    text = _line_of(unit, place.branch, body)
    access.note(
        unit, "why.read", place.branch.id, repo=place.repo_name, branch=place.branch.name, paths=[body.path]
    )
    sha, path, number = blamed(unit, place.branch, place.branch.tip, body.path, body.line)
    found = commit_at(unit, place.branch, sha)
    known = told(unit, found)
    assert known.commit is not None
    before = sources(unit, place.branch, found, body.path, body.line, text)
    earlier = [Earlier(undid=step.undone, commit=origin_of(unit, step.found)) for step in before]
    story = _Teller(orgs.members.names(unit)).story(known.commit, known.promotions, earlier)
    story[1:1] = _authors(unit, found, path, number)
    return WhyOut(
        repo_name=place.repo_name, branch=place.branch.name, path=body.path, line=body.line, text=text[:MAX_LINE],
        commit=known.commit, promotions=known.promotions, earlier=earlier,
        edges=[*known.edges, *_edges_back(found.sha, before)], story=story,
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


def _authors(unit: Unit, found: Found, path: str, line: int) -> list[str]:
    """What others know of who wrote the line in that commit."""
    if Authors not in unit.context:
        return []
    authors = unit.get(Authors)
    told = [authors.get(name)(unit, found, path, line) for name in sorted(authors)]
    return [sentence for sentence in told if sentence]


def _edges_back(sha: str, before: list[Before]) -> list[Edge]:
    edges: list[Edge] = []
    for step in before:
        edges.append(Edge(subject=f"commit:{sha}", relation="undid", object=f"commit:{step.undone}"))
        sha, undo = step.found.sha, sha
        edges.append(Edge(subject=f"commit:{undo}", relation="restored_from", object=f"commit:{sha}"))
    return edges


class _Teller:
    """Says it in plain words; `names` are those of the members, as far as the caller may know them."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def story(self, commit: Origin, promotions: list[Brought], earlier: list[Earlier]) -> list[str]:
        """From the commit to the last promotion, one sentence each."""
        verb = "brought it back" if earlier else "wrote it"
        story = [f"C{_named(commit)[1:]} {verb}.", *self._told_act(commit)]
        for step in earlier:
            story.append(
                f"It undid commit {step.undid[:10]}; before that, {_named(step.commit)} wrote the line."
            )
            story += self._told_act(step.commit)
        for step in promotions:
            into = f" as {step.merge_sha[:10]}" if step.merge_sha else ""
            at = f" on {_day(step.merged_at)}" if step.merged_at else ""
            story.append(
                f'Promotion {step.id} "{step.title}" brought it from {step.source} into {step.target}{into}{at}.'
            )
            story += self._told_approval(step)
        return story

    def _called(self, id_: str, label: str) -> str:
        name = self._names.get(id_)
        return f"{name} ({label})" if name else label

    def _told_act(self, commit: Origin) -> list[str]:
        act = commit.act
        if act is None:
            came = "before the repository came here: no line tells of it"
            return [f"{commit.author} made it on {_day(commit.at)}, {came}."]
        tool = f" with {act.tool}" if act.tool else ""
        where = f"on {_day(commit.at)} on branch {commit.branch} through {act.door}{tool}, request {act.request_id}"
        whose = ""
        if commit.opened_by is not None:
            whose = f", the workspace of {self._names.get(commit.opened_by, commit.opened_by)},"
        made = "pushed" if act.type == "push" else "made"
        told = [f"{self._called(act.actor, act.actor_name)} ({act.role}){whose} {made} it {where}."]
        told += _told_claims(commit)
        rules = f"Allowed by {', '.join(act.rules)}; " if act.rules else ""
        return [*told, f"{rules}{'it is' if rules else 'It is'} line {act.seq} of the ledger."]

    def _told_approval(self, step: Brought) -> list[str]:
        approval = step.approval
        if approval is None:
            act = step.act
            merged_by = (
                f"{self._called(act.actor, act.actor_name)} ({act.role})" if act is not None else "somebody"
            )
            return [f"No approval was needed; {merged_by} merged it."]
        told: list[str] = []
        for said in approval.decisions:
            verb = "approved" if said.verdict == "approve" else "denied"
            words = f': "{said.comment}"' if said.comment else ""
            own = ", the own request," if approval.self_approved and said.who == approval.requested_by else ""
            who = self._called(said.who, said.name)
            told.append(
                f"{who}{own} {verb} exactly this change ({approval.diff_hash[:19]}…) on {said.when}{words}."
            )
        return told or [f"Approval {approval.id} is {approval.state}."]


def _named(commit: Origin) -> str:
    subject = commit.message.partition("\n")[0]
    return f'commit {commit.sha[:10]} "{subject}"'


def _told_claims(commit: Origin) -> list[str]:
    said = {
        "agent": commit.agent_version,
        "prompt": commit.prompt_version,
        "task": commit.task_id,
        "run": commit.run_id,
    }
    named = [f"{name} {value}" for name, value in said.items() if value]
    return [f"It names {', '.join(named)}."] if named else []


def _day(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
