"""What a request needs: which rules of the policy file hold for an action, and whether all they ask for is there."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from .document import ApprovalRule, Document

# An action, and as what else policy files may call it: a release goes to main like every merge, and is more than one.
NAMES_OF: Final = {
    "pull.merge": ("pull.merge", "git.push_main"),
    "git.release": ("git.release", "pull.merge", "git.push_main"),
}


def rules_for(document: Document | None, action: str) -> list[ApprovalRule]:
    """The first rule for each name of an action: all of them have to be satisfied, in whatever order they stand."""
    if document is None:
        return []
    names = NAMES_OF.get(action, (action,))
    firsts = (next((rule for rule in document.approvals if name in rule.actions), None) for name in names)
    return list(dict.fromkeys(rule for rule in firsts if rule is not None))


def required_by(rules: Sequence[ApprovalRule], approvers: tuple[str, ...]) -> dict[str, Any]:
    """`from` (roles), `count` (people) and `rule`; with `demands` where several rules ask for different things."""
    demands = [_demand(rule, approvers) for rule in rules]
    apart = [
        demand for at, demand in enumerate(demands)
        if not any(_covers(other, demand) and not (at < over and _covers(demand, other))
                   for over, other in enumerate(demands) if over != at)
    ]  # fmt: skip
    if not apart:
        return {"from": list(approvers), "count": 1}
    if len(apart) == 1:
        return apart[0]
    named = [role for role in approvers if any(role in demand["from"] for demand in apart)]
    most = max(apart, key=lambda demand: demand["count"])
    return {**most, "from": named, "demands": apart}


def lifetime(rules: Sequence[ApprovalRule], hours: float) -> timedelta:
    """How long a request stays open: as the shortest of its rules says, else so many hours."""
    return min((timedelta(minutes=rule.minutes) for rule in rules), default=timedelta(hours=hours))


def in_favour(decisions: Sequence[dict[str, Any]], roles: Sequence[str] | None = None) -> set[str]:
    """Who said yes and still counts, in one of the roles."""
    return {
        d["who"] for d in decisions if d["verdict"] == "approve" and "void" not in d
        and (roles is None or not set(roles).isdisjoint(d.get("roles", ())))
    }  # fmt: skip


def missing(required: dict[str, Any], decisions: Sequence[dict[str, Any]]) -> int:
    """How many more have to say yes, at least; 0 when every demand is met."""
    demands = required.get("demands")
    if demands is None:
        return max(0, int(required["count"]) - len(in_favour(decisions)))
    return max(0, *(int(d["count"]) - len(in_favour(decisions, d["from"])) for d in demands))


def in_words(rules: Sequence[ApprovalRule]) -> str:
    """The rules and what each of them asks for."""
    return "; ".join(f"{rule.id}: {rule.count} of {', '.join(rule.approvers)}" for rule in rules)


def _demand(rule: ApprovalRule, approvers: tuple[str, ...]) -> dict[str, Any]:
    named = [role for role in rule.approvers if role in approvers] or list(approvers)
    return {"from": named, "count": rule.count, "rule": rule.id}


def _covers(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether whatever satisfies one demand satisfies the other."""
    return set(one["from"]) <= set(other["from"]) and one["count"] >= other["count"]
