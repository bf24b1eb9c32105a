"""The one question every verb asks before it acts."""

from builderos.core.problems import Problem
from builderos.core.unit import Unit

from .actions import Action
from .rules import Policy
from .schema import NO_CONTEXT, Decision, RequestContext, Resource


class Refused(Problem):
    """The policy's no, or not yet; `decision` has all deciding rules, the reply one, as `policy_rule`."""

    def __init__(self, decision: Decision, action: Action, resource: Resource) -> None:
        super().__init__(
            decision.code,
            _DETAIL.get(decision.code, "The policy does not allow {action} here.").format(action=action),
            hint=decision.hint,
            policy_rule=decision.rules[0],
        )
        self.decision = decision
        self.action: Action = action
        self.resource = resource


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
    """What the server's policy says to the unit's actor; changes and records nothing."""
    return unit.get(Policy).decide(unit.actor, action, resource, context, approved_digests)


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
        raise Refused(decision, action, resource)
    return decision
