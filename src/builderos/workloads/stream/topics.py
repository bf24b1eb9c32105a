"""What there is to follow, who may, and which line of the record belongs to what."""

import re
from dataclasses import dataclass, replace
from typing import Any, Final

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import Branch
from builderos.assets.workspaces import service as workspaces
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.execution.runs import service as runs
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource, ResourceKind

MOST: Final = 60
RUNS: Final = "runs"
_COMMIT: Final = re.compile("[0-9a-f]{40}(?:[0-9a-f]{24})?")


@dataclass(frozen=True)
class Topic:
    """A kind of events. `action`: what one has to be allowed; a workspace's token asks about its own branch, seen as
    `own`, where the topic is about branches. `types`: beginnings of the ledger's types.
    """

    action: policy.Action
    types: tuple[str, ...]
    single: str | None = None
    own: ResourceKind | None = None


TOPICS: Final[dict[str, Topic]] = {
    RUNS: Topic("run.read", ("agent.",), "run", "branch"),  # runs have events of their own
    "approvals": Topic("approval.read", ("approval.",), "approval"),
    "inbox": Topic("inbox.read", ("approval.", "alert.", "run.asked", "run.answered")),
    "alerts": Topic("alert.read", ("alert.",), "alert"),
    "sandboxes": Topic("sandbox.list", ("sandbox.",), "sandbox", "sandbox"),
    "commits": Topic("repo.read", (), None, "branch"),
    "pulls": Topic("pull.list", ("promotion.", "merge"), "pull", "sandbox"),
    "deployments": Topic("deployment.read", ("deployment.",), "deployment", "branch"),
    "prompts": Topic("prompt.read", ("prompt.",), "prompt"),
    "evals": Topic("eval.read", ("eval.",), "eval"),
    "policies": Topic("policy.explain", ("policy.",)),
    "memory": Topic("org.read", ("memory.",), None, "branch"),
    "artifacts": Topic("artifact.read", ("artifact.",), "artifact", "artifact"),
    "members": Topic("member.list", ("member.", "invite.", "grant.")),
    "webhooks": Topic("webhook.read", ("webhook.",), "webhook"),
    "projects": Topic("project.read", ("project.", "workspace.", "repo.", "branch.")),
    "experiments": Topic("experiment.read", ("experiment.", "experiment_run.")),
    "models": Topic("registry.read", ("model.", "promotion.")),
    "datasets": Topic("dataset.read", ("dataset.",)),
    "endpoints": Topic("endpoint.read", ("endpoint.",)),
    "sessions": Topic("session.read", ()),  # all that happens to these is among the events of runs;
    "apps": Topic("app.read", ()),  # and a line called session.… may tell of a sign-in
    "audit": Topic("audit.read", ("",)),
}
_OF_RUNS: Final = {"session.": "sessions", "app.": "apps", "experiment.": "experiments"}
"""Whom else an event is told to that is kept among those of runs."""
_OWN_ACTION: Final[dict[str, policy.Action]] = {
    "commits": "git.log", "sandboxes": "sandbox.read", "pulls": "sandbox.read", "memory": "memory.read",
}  # fmt: skip
_SINGLES: Final = {topic.single: name for name, topic in TOPICS.items() if topic.single}


@dataclass(frozen=True)
class Wanted:
    """A topic, or one object of it; `word` is how the client calls it."""

    word: str
    topic: str
    object: str | None = None


@dataclass(frozen=True)
class Own:
    """The one branch whose events a workspace's token gets."""

    sandbox_id: str
    repo: str
    branch: str


@dataclass(frozen=True)
class View:
    """What one client gets. Clients with equal views get the same bytes."""

    wanted: tuple[Wanted, ...]
    own: Own | None


@dataclass(frozen=True)
class Happened:
    """One event, before it is known who gets it. `version` grows for each topic and object."""

    id: str
    topics: frozenset[str]
    type: str
    object: str
    version: int
    at: str
    repo: str | None = None
    branch: str | None = None
    run_id: str | None = None
    data: dict[str, Any] | None = None
    source: str | None = None
    """Of a merge: the branch that it took in, whose owner is told, too."""

    def seen_by(self, view: View) -> list[dict[str, Any]]:
        """What a client gets of it: an item for each of its topics."""
        return [self._item(one) for one in view.wanted if self._fits(one) and self._is_of(one, view.own)]

    def _is_of(self, one: Wanted, own: Own | None) -> bool:
        if own is None or TOPICS[one.topic].own is None:
            return True
        return self.object == own.sandbox_id or (
            self.repo == own.repo and own.branch in (self.branch, self.source)
        )

    def _fits(self, one: Wanted) -> bool:
        if one.topic not in self.topics:
            return False
        if one.object is None:
            return one.topic != RUNS or self.data is None or self.type.startswith("run.")
        return one.object in (self.object, self.run_id if one.topic == RUNS else self.object)

    def _item(self, one: Wanted) -> dict[str, Any]:
        return {
            "id": self.id, "topic": one.word, "type": self.type, "object": self.object, "version": self.version,
            "at": self.at, "repo": self.repo, "branch": self.branch, "run_id": self.run_id,
            "data": self.data if one.object is not None else None,
        }  # fmt: skip


def of_line(org_id: str, seq: int, body: dict[str, Any]) -> Happened | None:
    """A line of the ledger; None where no topic has it."""
    type_, object_, said = str(body["type"]), str(body["object"]), body["payload"]
    topics = {name for name, topic in TOPICS.items() if topic.types and type_.startswith(topic.types)}
    if _COMMIT.fullmatch(object_):
        topics.add("commits")
    if not topics:
        return None
    return Happened(
        f"evt_{org_id.partition('_')[2]}_{seq}", frozenset(topics), type_, object_,
        seq, str(body["at"]), _text(said.get("repo")), _text(said.get("branch")),
        _text(said.get("run_id")), source=_text(said.get("from")) if type_ == "merge" else None,
    )  # fmt: skip


def of_run(news: runs.events.News) -> Happened:
    """An event of a run."""
    said = news.event.as_json(news.run_id)
    also = {topic for begin, topic in _OF_RUNS.items() if news.event.type.startswith(begin)}
    return Happened(
        f"evt_{news.run_id.partition('_')[2]}_{news.event.seq}", frozenset({RUNS, *also}), news.event.type, news.run_id,
        news.event.seq, said["at"], news.repo or None, news.branch or None, news.run_id, said["payload"],
    )  # fmt: skip


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def read(text: str) -> list[Wanted]:
    """Topics as a client names them. Raises `validation_failed`."""
    words = list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if not 0 < len(words) <= MOST:
        raise _wrong(f"name between one and {MOST} topics")
    return [_one(word) for word in words]


def _one(word: str) -> Wanted:
    if word in TOPICS:
        return Wanted(word, word)
    kind, colon, object_ = word.partition(":")
    if not colon or kind not in _SINGLES or not object_:
        raise _wrong(f"there is no topic {word}")
    return Wanted(word, _SINGLES[kind], object_)


def _wrong(detail: str) -> Problem:
    singles = ", ".join(f"{kind}:…" for kind in sorted(_SINGLES))
    return Problem(
        "validation_failed", detail, hint=f"There are {', '.join(TOPICS)}; of one object {singles}."
    )


def view_of(unit: Unit, wanted: list[Wanted]) -> tuple[View, list[str]]:
    """What the caller may see of it, and what not. Raises what the policy says where nothing is left."""
    own, branch = _own(unit)
    refused: dict[str, policy.Refused | Problem] = {}
    for one in wanted:
        resource = _resource(unit, one, branch)
        action = (
            TOPICS[one.topic].action
            if branch is None
            else _OWN_ACTION.get(one.topic, TOPICS[one.topic].action)
        )
        decision = policy.decide(unit, action, resource)
        if decision.verdict != "allow":
            refused[one.word] = policy.Refused(decision, action, resource)
        elif one.topic == RUNS and one.object is not None and (problem := _unseen(unit, one.object)):
            refused[one.word] = problem
    if len(refused) == len(wanted):
        raise next(iter(refused.values()))
    return View(tuple(one for one in wanted if one.word not in refused), own), list(refused)


def _own(unit: Unit) -> tuple[Own | None, Branch | None]:
    sandbox_id = unit.actor.sandbox_id
    if sandbox_id is None:
        return None, None
    branch = repositories.branch_by_id(unit, "br_" + sandbox_id.removeprefix("sbx_"))
    return Own(sandbox_id, branch.repo_name, branch.name), branch


def _resource(unit: Unit, one: Wanted, branch: Branch | None) -> Resource:
    own = TOPICS[one.topic].own
    if branch is None or own is None:
        return policy.org_resource(unit)
    resource = workspaces.branch_resource(unit, branch)
    if own == "branch":
        return resource
    return replace(resource, kind=own, id=unit.actor.sandbox_id or "", branch_kind=None, default_write=False)


def _unseen(unit: Unit, run_id: str) -> Problem | None:
    """Why a run may not be followed. Its branch may have a rule of its own."""
    try:
        runs.seen_run(unit, run_id)
    except Problem as problem:
        return problem
    return None
