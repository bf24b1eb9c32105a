"""The one question every verb asks before it acts."""

from collections.abc import Iterable

from builderos.core.problems import Problem
from builderos.core.unit import Unit

from .actions import Action
from .file_policy import EXEMPT, Asked, No
from .force import InForce
from .merging import Scene
from .rules import Policy
from .schema import NO_CONTEXT, Decision, RequestContext, Resource


class Refused(Problem):
    """The policy's no, or not yet; `decision` has all deciding rules, the reply one, as `policy_rule`."""

    def __init__(
        self, decision: Decision, action: Action, resource: Resource, paths: tuple[str, ...] = ()
    ) -> None:
        super().__init__(
            decision.code,
            _DETAIL.get(decision.code, "The policy does not allow {action} here.").format(action=action),
            hint=decision.hint,
            policy_rule=decision.rules[0],
        )
        self.decision = decision
        self.action: Action = action
        self.resource = resource
        self.paths = paths


_DETAIL = {
    "approval_required": "{action} waits for an approval.",
    "forbidden_branch": "{action} is not allowed on this branch with this credential.",
    "not_found": "There is no such object.",
    "protected_branch": "{action} is not allowed on a protected branch.",
    "tool_not_allowed": "The profile of this token does not include {action}.",
    "unauthenticated": "{action} needs a credential.",
}


def org_resource(unit: Unit) -> Resource:
    """The unit's own organisation, for acts on all of its things at once (lists of alerts, approvals, audit)."""
    return Resource(kind="org", id=unit.org_id, org_id=unit.org_id)


def decide(
    unit: Unit,
    action: Action,
    resource: Resource,
    context: RequestContext = NO_CONTEXT,
    approved_digests: frozenset[str] = frozenset(),
) -> Decision:
    """What the shipped rules say to the unit's actor, and then the organisation's policy file; records nothing."""
    decision = unit.get(Policy).decide(unit.actor, action, resource, context, approved_digests)
    if decision.verdict == "deny" or unit.actor.role == "system" or action in EXEMPT:
        return decision
    no = _no_of_file(unit, action, resource, context.paths)
    return decision if no is None else _denied(no, decision.digest)


def require_paths(unit: Unit, action: Action, resource: Resource, paths: Iterable[str]) -> None:
    """Ask about paths that came to light after `require` has allowed the act itself; raises `Refused`.

    Only the organisation's policy file knows rules for paths, so nothing else is asked.
    """
    if unit.actor.role == "system":
        return
    named = tuple(sorted(paths))
    no = _no_of_file(unit, action, resource, named)
    if no is not None:
        raise Refused(_denied(no, ""), action, resource, named)


def _no_of_file(unit: Unit, action: Action, resource: Resource, paths: tuple[str, ...]) -> No | None:
    file = unit.get(InForce).of(unit).file
    if file is None:
        return None
    scene = Scene(unit.actor.name, resource.project, resource.branch)
    return file.judge(Asked(action, unit.call.tool.partition("@")[0], paths), scene)


def _denied(no: No, digest: str) -> Decision:
    return Decision("deny", no.rules, "policy_denied", no.hint, digest)


def require(
    unit: Unit,
    action: Action,
    resource: Resource,
    context: RequestContext = NO_CONTEXT,
    approved_digests: frozenset[str] = frozenset(),
) -> Decision:
    """The decision that allows the act, for its ledger line; raises `Refused` with the deciding rule's code.

    Codes: `approval_required`, `forbidden_branch`, `not_found`, `policy_denied`, `protected_branch`,
    `tool_not_allowed`, `unauthenticated`.
    """
    decision = decide(unit, action, resource, context, approved_digests)
    if decision.verdict != "allow":
        raise Refused(decision, action, resource, context.paths)
    return decision
