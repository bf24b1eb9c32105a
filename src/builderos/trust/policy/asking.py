"""Questions about a policy that nobody acts on: what would be decided, by which rule, and why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from builderos.core.actor import Actor, Profile, Role
from builderos.core.problems import Problem
from builderos.core.schema import In, Line, Out, Text
from builderos.core.unit import Unit
from builderos.core.yamlnodes import MAX_BYTES, Reader
from builderos.trust.identity.service import roles

from .actions import ACTIONS, Action
from .decision import NO_FILE, OUTWARD, org_resource, require
from .document import KINDS
from .file_policy import EXEMPT, Asked, FilePolicy, No
from .force import InForce
from .globs import host_fault
from .loading import NO_MATCH
from .merging import Scene
from .proposing import Content, checked
from .rules import Policy
from .schema import BranchKind, RequestContext, Resource, ResourceKind, Verdict
from .terms import in_words
from .terms import rules_for as approvals_for

MAX_QUESTIONS: Final = 500
_HERE: Final = "asked"
# What an act is done to, by the first word of its name; single acts that differ from their like stand below.
_OTHERWISE: Final = {"git.push_main": "pull.merge"}  # as policy files call it, too
_KIND_OF: Final[Mapping[str, ResourceKind]] = {
    "alert": "org", "app": "org", "approval": "approval", "artifact": "artifact", "audit": "org", "backup": "branch",
    "compute": "org", "credential": "credential", "dataset": "artifact", "deploy": "branch",
    "deployment": "branch", "endpoint": "org", "eval": "org", "experiment": "org", "files": "branch",
    "git": "branch", "inbox": "org", "lineage": "org", "me": "org", "member": "org", "memory": "branch",
    "metrics": "branch", "model": "model", "network": "repo", "org": "org", "pipeline": "org",
    "policy": "org", "project": "org", "prompt": "org", "pull": "pull", "registry": "org", "repo": "repo",
    "run": "branch", "sandbox": "sandbox", "schedule": "schedule", "secret": "repo", "server": "org",
    "session": "branch", "task": "branch", "token": "credential", "tool": "branch", "tools": "org",
    "usage": "org", "budget": "org", "webhook": "org",
}  # fmt: skip
_KIND_OF_ONE: Final[Mapping[str, ResourceKind]] = {
    "backup.delete": "backup", "credential.lift": "org", "git.promote": "pull", "git.release": "pull",
    "member.manage": "member", "memory.share": "repo",
    "pull.list": "org", "secret.manage": "org", "secret.read": "org", "sandbox.init": "repo", "sandbox.list": "org",
    "sandbox.reset": "branch", "sandbox.scaffold": "branch",
}  # fmt: skip


class QuestionIn(In):
    """One act: who, what, where. What is left out is the most ordinary case."""

    action: Annotated[Line, Field(description="What is done, e.g. files.write.")]
    tool: Annotated[Line, Field(description="Through which tool, e.g. commit_and_log.")] = ""
    agent: Annotated[Line, Field(description="Name of who acts, e.g. sandbox-golden-otter.")] = (
        "sandbox-asked"
    )
    role: Annotated[Role, Field(description="Kind of credential or membership.")] = "sandbox"
    scopes: Annotated[
        list[Line],
        Field(
            description="Scopes of an API key or token; a member without any is signed in whole.",
            max_length=20,
        ),
    ] = []
    profile: Annotated[Profile, Field(description="Tool profile of the credential.")] = "standard"
    own: Annotated[bool, Field(description="Whether the workspace is the actor's own.")] = True
    project: Annotated[
        Line | None, Field(description="Repository, or a project that repositories are in, by name.")
    ] = None
    branch: Annotated[Line | None, Field(description="Branch that is read or changed, by name.")] = None
    branch_kind: Annotated[BranchKind, Field(description="What kind of branch that is.")] = "sandbox"
    environment: Annotated[Line | None, Field(description="Named environment.")] = None
    paths: Annotated[list[str], Field(description="Paths that are changed.", max_length=200)] = []
    host: Annotated[Line, Field(description="Host that is reached.")] = ""
    secret: Annotated[Line, Field(description="Secret that is used, by name.")] = ""
    expect: Annotated[Verdict | None, Field(description="The decision that a test case wants.")] = None
    rule: Annotated[Line | None, Field(description="The rule that a test case wants to decide.")] = None


class Answer(Out):
    """A decision with its reasons. `decided_by`: the shipped rules, or the organisation's file."""

    action: str
    verdict: Verdict
    code: str
    rules: list[str]
    hint: str
    decided_by: Literal["shipped", "file"]
    in_scope: list[str]
    deciding: dict[str, str]
    passed: bool | None


class ExplainIn(QuestionIn):
    """A question about the policy in force, or about a file that is not."""

    content: Content | None = None


class SimulateIn(In):
    """Questions about the policy in force, or about a file that is not."""

    questions: Annotated[
        list[QuestionIn], Field(description="Acts to decide about.", max_length=MAX_QUESTIONS)
    ] = []
    cases: Annotated[
        Text | None,
        Field(
            description="The same as a YAML (or JSON) list, as people keep it in a file.",
            max_length=MAX_BYTES,
        ),
    ] = None
    content: Content | None = None

    @model_validator(mode="after")
    def _one_form(self) -> "SimulateIn":
        if bool(self.questions) == (self.cases is not None):
            raise ValueError("send questions, or cases")
        return self


class Simulation(Out):
    """What would be decided; `failed` counts the questions whose expectation does not hold."""

    answers: list[Answer]
    allowed: int
    denied: int
    failed: int


_CASES: Final = TypeAdapter(list[QuestionIn])


@dataclass(frozen=True)
class Rules:
    """What a question is put to: the shipped rules, and a file or none; `homes`: repository → its project, by name."""

    shipped: Policy
    file: FilePolicy | None
    homes: Mapping[str, str] = field(default_factory=dict[str, str])


def rules_for(unit: Unit, content: str | None) -> Rules:
    """The rules in force, or those that `content` would make; asking needs the right to read the policy."""
    require(unit, "policy.explain", org_resource(unit))
    file = unit.get(InForce).of(unit).file if content is None else FilePolicy(checked(unit, content))
    return Rules(unit.get(Policy), file, roles.homes(unit))


def explain(unit: Unit, body: ExplainIn) -> Answer:
    """One decision with its reasons. Raises `validation_failed` for an unknown action."""
    return answer(rules_for(unit, body.content), body)


def simulate(unit: Unit, body: SimulateIn) -> Simulation:
    """Many decisions at once; nothing is recorded and nothing happens. Raises `validation_failed` for odd cases."""
    rules = rules_for(unit, body.content)
    questions = body.questions if body.cases is None else read_cases(body.cases)
    answers = [answer(rules, question) for question in questions]
    allowed = sum(found.verdict == "allow" for found in answers)
    failed = sum(found.passed is False for found in answers)
    return Simulation(
        answers=answers, allowed=allowed, denied=sum(a.verdict == "deny" for a in answers), failed=failed
    )


def read_cases(text: str) -> list[QuestionIn]:
    """Questions of a YAML list; raises `validation_failed` with the line, or the number of the case."""
    reader = Reader()
    root = reader.document(text)
    if root is not None and not isinstance(root, yaml.SequenceNode):
        reader.fault(root, "", "expected a list of questions")
    if root is None or reader.issues:
        why = str(reader.issues[0]) if reader.issues else "1: the file is empty"
        raise _no_cases(f"cases:{why}")
    try:
        found = _CASES.validate_python(yaml.safe_load(text))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        raise _no_cases(f"case {int(first['loc'][0]) + 1}: {where} {first['msg']}") from error
    if not 1 <= len(found) <= MAX_QUESTIONS:
        raise _no_cases(f"{len(found)} cases; at least 1 and at most {MAX_QUESTIONS} can be asked at once")
    return found


def _no_cases(detail: str) -> Problem:
    return Problem(
        "validation_failed",
        detail,
        hint="Write a list, e.g. - {action: git.push, paths: [src/a.py], expect: allow}.",
    )


def answer(rules: Rules, question: QuestionIn) -> Answer:
    """What the shipped rules, and then the file, say to a question."""
    asked = _OTHERWISE.get(question.action, question.action)
    if asked not in ACTIONS:
        raise Problem(
            "validation_failed",
            f"there is no action {question.action!r}",
            hint=f"Known: {', '.join(ACTIONS)}.",
        )
    action: Action = asked
    missing = {"network.reach": "host", "secret.use": "secret"}.get(action)
    if missing is not None and not getattr(question, missing):
        raise Problem(
            "validation_failed", f"{action} needs a {missing}", hint=f"Say which one with {missing}: …."
        )
    context = RequestContext(anonymous_mode=True, paths=tuple(question.paths))
    decision = rules.shipped.decide(_actor(question), action, _resource(action, question), context)
    said: dict[str, Any] = {
        "verdict": decision.verdict, "code": decision.code, "rules": list(decision.rules), "hint": decision.hint,
        "decided_by": "shipped", "in_scope": [], "deciding": {},
    }  # fmt: skip
    file = rules.file or (NO_FILE if action in OUTWARD else None)
    if file is not None and action not in EXEMPT and (question.role != "system" or action in OUTWARD):
        home = rules.homes.get(question.project or "")
        said |= _of_file(file, action, question, context, home, allowed=decision.verdict != "deny")
    rules_asked = approvals_for(file.document if file is not None else None, action)
    if said["verdict"] == "needs_approval" and rules_asked:
        said["deciding"] = {**said["deciding"], "approvals": in_words(rules_asked)}
    passed = None
    if question.expect is not None or question.rule is not None:
        passed = question.expect in (None, said["verdict"]) and question.rule in (None, *said["rules"])
    return Answer(action=action, passed=passed, **said)


def _of_file(
    file: FilePolicy,
    action: Action,
    question: QuestionIn,
    context: RequestContext,
    home: str | None,
    *,
    allowed: bool,
) -> dict[str, Any]:
    scene = Scene(question.agent, question.project, question.branch, question.environment, home)
    narrowed = file.in_scene(scene)
    found = narrowed.merged.allows
    said: dict[str, Any] = {
        "in_scope": list(dict.fromkeys([
            *(rule.id for rule in narrowed.merged.denies),
            *(id_ for kind in KINDS if kind in found for id_ in found[kind].rules),
        ])),
        "deciding": {kind: f"{found[kind].level}: {', '.join(found[kind].rules)}" for kind in KINDS
                     if kind in found and found[kind].rules},
    }  # fmt: skip
    no = narrowed.judge(Asked(action, question.tool, context.paths, question.host, question.secret), scene)
    if question.host and (fault := host_fault(question.host)):
        no = No((NO_MATCH,), fault)
    if no is not None and allowed:
        said |= {"verdict": "deny", "code": "policy_denied", "rules": list(no.rules), "hint": no.hint,
                 "decided_by": "file"}  # fmt: skip
    return said


def _actor(question: QuestionIn) -> Actor:
    bound = question.role in ("sandbox", "share")
    scopes = question.scopes or roles.SCOPES_OF_ROLE.get(question.role, ())
    return Actor(
        question.role, "act_asked", question.agent, _HERE, question.profile, frozenset(scopes),
        repo_id=_HERE if bound else None, sandbox_id="own" if bound else None,
    )  # fmt: skip


def _resource(action: Action, question: QuestionIn) -> Resource:
    kind = _KIND_OF_ONE.get(action) or _KIND_OF[action.partition(".")[0]]
    sandbox = "own" if question.own else "other"
    facts: dict[str, Any] = {}
    if kind in ("artifact", "branch", "pull", "sandbox", "backup", "repo"):
        facts["repo_id"] = _HERE
    if kind in ("branch", "pull"):
        facts |= {"branch_kind": "sandbox" if kind == "pull" else question.branch_kind}
    if kind in ("artifact", "sandbox", "pull", "backup") or (
        kind == "branch" and question.branch_kind == "sandbox"
    ):
        facts["sandbox_id"] = sandbox
    if kind == "pull":
        facts["target_kind"] = "main" if question.branch_kind == "sandbox" else question.branch_kind
    if kind in ("credential", "member"):
        facts |= {"role": "api_key"} | ({"scopes": frozenset[str]()} if kind == "credential" else {})
    return Resource(kind, _HERE, _HERE, project=question.project, branch=question.branch, **facts)
