"""Where something comes from: from a commit to the call, the actor and the rules behind it, and on to who approved it.

Everything is read from the ledger, the promotions and the approvals; nothing is kept twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

import pygit2
import sqlalchemy as sa
from pydantic import Field

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import Branch
from builderos.assets.repositories.service import Commit, decode_commit
from builderos.core.problems import Problem
from builderos.core.schema import In, Line, Out
from builderos.core.unit import Unit
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource

from .content import repository_of
from .model import pulls, sandboxes
from .places import branch_resource
from .ports import Origins
from .pulls import find_pull, pull_resource

MAX_PROMOTIONS: Final = 500
MAX_VERSION: Final = 200
_KINDS: Final = {"run": "run", "stp": "step", "art": "artifact", "dep": "deployment"}
PROMPT_TRAILER: Final = "BuilderOS-Prompt-Version"


class ProvenanceIn(In):
    """Of what."""

    id: Annotated[
        Line,
        Field(
            description="A commit (40 hexadecimal digits), a promotion, an approval, a run, a step, an artifact or a "
            "deployment."
        ),
    ]


class Act(Out):
    """A line of the ledger: who did it, through which door and tool, by which rules."""

    seq: int
    hash: str
    type: str
    at: str
    actor: str
    actor_name: str
    role: str
    door: str
    request_id: str
    tool: str | None
    rules: list[str]


class Verdict(Out):
    """One person's answer. `comment` is null for callers who may not read approvals."""

    who: str
    name: str
    when: str
    verdict: str
    comment: str | None
    rules: list[str]


class Approved(Out):
    """What was asked, and who answered."""

    id: str
    state: str
    diff_hash: str
    requested_by: str
    prompt_version: str | None
    self_approved: bool
    decisions: list[Verdict]


class Brought(Out):
    """A promotion that took the commit into another branch."""

    id: str
    title: str
    source: str
    target: str
    merge_sha: str | None
    merged_at: datetime | None
    diff_hash: str
    act: Act | None
    approval: Approved | None


class Origin(Out):
    """A commit. `act` is null for history that was there before the repository was imported."""

    sha: str
    repo_name: str
    branch: str
    message: str
    author: str
    at: datetime
    paths: list[str]
    task_id: str | None
    run_id: str | None
    agent_version: str | None
    prompt_version: str | None
    claimed_by: str | None
    opened_by: str | None  # whose workspace it was made in, where it is a member's
    act: Act | None


class Edge(Out):
    """`subject` came about by `object` in the way that `relation` says."""

    subject: str
    relation: str
    object: str


class ProvenanceOut(Out):
    """The whole chain: as facts, and as edges of one graph."""

    id: str
    kind: str
    commit: Origin | None
    promotions: list[Brought]
    edges: list[Edge]


@dataclass(frozen=True)
class Found:
    """A commit with the line that made it, and a branch through which the caller may see it."""

    sha: str
    commit: Commit
    line: dict[str, Any] | None
    branch: Branch


def provenance(unit: Unit, body: ProvenanceIn) -> ProvenanceOut:
    """Of a commit, a promotion, an approval, a run, a step or an artifact.

    Raises `not_found`, also for what the caller may not read.
    """
    if body.id.startswith("apr_"):
        return _of_approval(unit, body.id)
    if body.id.startswith("pul_"):
        return _of_promotion(unit, body.id)
    prefix = body.id.partition("_")[0]
    if Origins in unit.context and prefix in (origins := unit.get(Origins)):
        found = [Edge(subject=s, relation=r, object=o) for s, r, o in origins.get(prefix)(unit, body.id)]
        return ProvenanceOut(id=body.id, kind=_KINDS[prefix], commit=None, promotions=[], edges=found)
    return told(unit, find_commit(unit, body.id))


def told(unit: Unit, found: Found) -> ProvenanceOut:
    """Everything that is known about a commit."""
    origin = origin_of(unit, found)
    brought = _promotions(unit, found)
    edges = _edges_of_commit(origin)
    for promotion in brought:
        edges.append(
            Edge(subject=f"commit:{found.sha}", relation="brought_by", object=f"promotion:{promotion.id}")
        )
        edges += _edges_of_promotion(promotion)
    return ProvenanceOut(id=found.sha, kind="commit", commit=origin, promotions=brought, edges=edges)


def _of_promotion(unit: Unit, id_: str) -> ProvenanceOut:
    row = find_pull(unit, id_)
    source = repositories.branch_by_id(unit, row.source_branch_id)
    target = repositories.branch_by_id(unit, row.target_branch_id)
    policy.require(unit, "pull.read", pull_resource(unit, row.id, source, target))
    brought = _brought(unit, row)
    return ProvenanceOut(
        id=id_, kind="promotion", commit=None, promotions=[brought], edges=_edges_of_promotion(brought)
    )


def _of_approval(unit: Unit, id_: str) -> ProvenanceOut:
    approval = policy.waiting.show(unit, policy.approvals.ApprovalIn(id=id_))
    row = unit.execute(sa.select(pulls).where(pulls.c.id == approval.object)).one_or_none()
    brought = [_brought(unit, row)] if row is not None else []
    edges = [edge for promotion in brought for edge in _edges_of_promotion(promotion)]
    return ProvenanceOut(id=id_, kind="approval", commit=None, promotions=brought, edges=edges)


def find_commit(unit: Unit, sha: str) -> Found:
    """A commit that the ledger knows, if the caller may read the branch it was made on, or main where it is there."""
    unknown = Problem("not_found", "there is no such commit", hint="Give all 40 digits; gitLog lists them.")
    line = ledger.line_of_commit(unit, sha) if len(sha) == 40 else None
    if line is None or "repo_id" not in line["payload"]:
        raise unknown
    payload = line["payload"]
    made_on = repositories.find_branch(unit, payload["repo_id"], payload["branch"])
    main = repositories.main_branch(unit, payload["repo_id"])
    for branch in (made_on, main):
        if branch is None or branch.state == "deleted" or not _has(unit, branch, sha):
            continue
        if policy.decide(unit, "git.log", branch_resource(unit, branch)).verdict == "allow":
            return Found(sha, _read(unit, branch, sha), line, branch)
    policy.require(unit, "git.log", branch_resource(unit, main))
    raise unknown


def commit_at(unit: Unit, branch: Branch, sha: str) -> Found:
    """A commit of a branch that the caller was allowed to read."""
    return Found(sha, _read(unit, branch, sha), ledger.line_of_commit(unit, sha), branch)


def _has(unit: Unit, branch: Branch, sha: str) -> bool:
    repo = repository_of(unit, branch)
    try:
        return sha == branch.tip or repo.descendant_of(branch.tip, sha)
    except (KeyError, ValueError, pygit2.GitError):
        return False


def _read(unit: Unit, branch: Branch, sha: str) -> Commit:
    return decode_commit(repository_of(unit, branch).read(pygit2.Oid(hex=sha))[1])


def origin_of(unit: Unit, found: Found) -> Origin:
    """A commit with what its line and its trailers tell. Versions, task and run are what its maker said."""
    line, trailers = found.line, dict(found.commit.trailers)
    payload: dict[str, Any] = line["payload"] if line is not None else {}
    return Origin(
        sha=found.sha, repo_name=payload.get("repo", found.branch.repo_name),
        branch=payload.get("branch", found.branch.name), message=found.commit.message.strip()[:2000],
        author=line["actor_name"] if line is not None else f"git:{found.commit.author.name}",
        at=found.commit.committed_at, paths=list(payload.get("paths", []))[:200],
        task_id=payload.get("task_id") or trailers.get("BuilderOS-Task"),
        run_id=payload.get("run_id") or trailers.get("BuilderOS-Run"),
        agent_version=payload.get("agent_version") or trailers.get("BuilderOS-Agent-Version"),
        prompt_version=prompt_version_of(payload, trailers), claimed_by=payload.get("claimed_by"),
        opened_by=_opened_by(unit, line["actor"]) if line is not None else None,
        act=_act(line) if line is not None else None,
    )  # fmt: skip


def _opened_by(unit: Unit, actor_id: str) -> str | None:
    """The member who opened the workspace that an actor is; None for all other actors."""
    id_ = "sbx_" + actor_id.removeprefix("act_")
    maker = unit.execute(sa.select(sandboxes.c.created_by).where(sandboxes.c.id == id_)).scalar_one_or_none()
    return maker if maker is not None and maker.startswith(("usr_", "sva_")) else None


def prompt_version_of(payload: dict[str, Any], trailers: Mapping[str, str]) -> str | None:
    """The version of the prompt, e.g. `planner@1.3.0#sha256:…`: from the metadata of a commit, or its trailer."""
    metadata: dict[str, Any] = payload.get("metadata") or {}
    told = metadata.get("prompt_version") or trailers.get(PROMPT_TRAILER)
    return told[:MAX_VERSION] if isinstance(told, str) and told.isprintable() else None


def _act(line: dict[str, Any]) -> Act:
    return Act(
        seq=line["seq"], hash=line["hash"], type=line["type"], at=line["at"], actor=line["actor"],
        actor_name=line["actor_name"], role=line["role"], door=line["door"], request_id=line["request_id"],
        tool=line["payload"].get("tool"), rules=line["rules"],
    )  # fmt: skip


def _promotions(unit: Unit, found: Found) -> list[Brought]:
    """The promotions that took a commit on its way, up to the one that brought it into main."""
    repo, c = repository_of(unit, found.branch), pulls.c
    merged = (
        sa.select(pulls)
        .where(
            c.repo_id == found.branch.repo_id, c.state == "merged", c.merged_at >= found.commit.committed_at
        )
        .order_by(c.merged_at)
        .limit(MAX_PROMOTIONS)
    )
    brought: list[Brought] = []
    for row in unit.execute(merged):
        if not _reaches(repo, row.head_sha, found.sha) and row.merge_sha != found.sha:
            continue
        brought.append(_brought(unit, row))
        if brought[-1].target == "main":
            break
    return brought


def _reaches(repo: pygit2.Repository, tip: str, sha: str) -> bool:
    try:
        return tip == sha or repo.descendant_of(tip, sha)
    except (KeyError, ValueError, pygit2.GitError):  # not among what this branch can see
        return False


def _brought(unit: Unit, row: sa.Row[Any]) -> Brought:
    line = ledger.line_of_commit(unit, row.merge_sha) if row.merge_sha else None
    return Brought(
        id=row.id, title=row.title, source=repositories.branch_by_id(unit, row.source_branch_id).name,
        target=repositories.branch_by_id(unit, row.target_branch_id).name, merge_sha=row.merge_sha,
        merged_at=row.merged_at, diff_hash=row.diff_hash, act=_act(line) if line is not None else None,
        approval=_approved(unit, row.approval_id) if row.approval_id else None,
    )  # fmt: skip


def _approved(unit: Unit, id_: str) -> Approved:
    approval = policy.approvals.find(unit, id_)
    lines = {
        (line["payload"].get("who"), line["payload"].get("when")): line
        for line in ledger.lines_about(unit, id_, type_="approval.decided")
    }
    resource = Resource(kind="approval", id=id_, org_id=unit.org_id)
    open_ = policy.decide(unit, "approval.read", resource).verdict == "allow"
    decisions: list[Verdict] = []
    for said in approval.decisions:
        line = lines.get((said["who"], said["when"]), {})
        decisions.append(
            Verdict(
                who=said["who"], name=line.get("actor_name", said["who"]), when=said["when"], verdict=said["verdict"],
                comment=said.get("comment") if open_ else None, rules=line.get("rules", []),
            )
        )  # fmt: skip
    return Approved(
        id=id_, state=approval.state, diff_hash=approval.diff_hash, requested_by=approval.requested_by,
        prompt_version=approval.prompt_version, self_approved=approval.self_approved, decisions=decisions,
    )  # fmt: skip


def _edges_of_commit(origin: Origin) -> list[Edge]:
    commit = f"commit:{origin.sha}"
    versions = (("prompt_version", origin.prompt_version), ("agent_version", origin.agent_version),
                ("task", origin.task_id), ("run", origin.run_id))  # fmt: skip
    edges = [Edge(subject=commit, relation=f"with_{name}", object=f"{name}:{v}") for name, v in versions if v]
    edges += _edges_of_act(commit, "made_by", origin.act) if origin.act is not None else []
    if origin.act is not None and origin.opened_by is not None:
        edges.append(
            Edge(
                subject=f"actor:{origin.act.actor}", relation="opened_by", object=f"actor:{origin.opened_by}"
            )
        )
    return edges


def _edges_of_act(subject: str, relation: str, act: Act) -> list[Edge]:
    call = f"call:{act.request_id}"
    return [
        Edge(subject=subject, relation=relation, object=call),
        Edge(subject=call, relation="recorded_as", object=f"line:{act.seq}"),
        *([Edge(subject=call, relation="of_tool", object=f"tool:{act.tool}")] if act.tool else []),
        Edge(subject=call, relation="through", object=f"door:{act.door}"),
        Edge(subject=call, relation="by", object=f"actor:{act.actor}"),
        *(Edge(subject=call, relation="allowed_by", object=f"rule:{rule}") for rule in act.rules),
    ]


def _edges_of_promotion(promotion: Brought) -> list[Edge]:
    subject = f"promotion:{promotion.id}"
    edges: list[Edge] = []
    if promotion.merge_sha is not None:
        edges.append(Edge(subject=subject, relation="merged_as", object=f"commit:{promotion.merge_sha}"))
    if promotion.act is not None:
        edges += _edges_of_act(f"commit:{promotion.merge_sha}", "made_by", promotion.act)
    if promotion.approval is None:
        return edges
    approval = f"approval:{promotion.approval.id}"
    edges.append(Edge(subject=subject, relation="needed", object=approval))
    edges.append(Edge(subject=approval, relation="bound_to", object=f"diff:{promotion.approval.diff_hash}"))
    for said in promotion.approval.decisions:
        relation = "approved_by" if said.verdict == "approve" else "denied_by"
        edges.append(Edge(subject=approval, relation=relation, object=f"actor:{said.who}"))
    return edges
