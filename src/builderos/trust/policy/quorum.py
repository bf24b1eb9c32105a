"""Whether enough people can say yes: what nobody can decide about is not asked, and no policy is the last one."""

from typing import Final

from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.identity import service as identity

from .document import FILE_NAME, ApprovalRule, Document

_ROLE_NAMES: Final = {"org_owner": "Owner", "admin": "Admin"}
_WRITERS: Final = frozenset({"Owner", "Admin"})  # who may propose a policy, and decide about one


def require_reachable(unit: Unit, action: str, in_force: Document, proposed: Document) -> None:
    """Refuse a policy that nobody could put into force, or none after it.

    Programs approve nothing and members do not decide on their own proposal. The owner of a server can hand out keys
    that approve, so where that is whose organisation it is, enough people can always be found. Raises `conflict`,
    `validation_failed`.
    """
    if identity.list_credentials(unit, "owner"):
        return
    people = [m for m in identity.members.everybody(unit) if m.kind == "person" and m.role in _ROLE_NAMES]
    named, count = _asked(_rule(in_force, action))
    able = [m for m in people if _ROLE_NAMES[m.role] in named and m.id != unit.actor.member_id]
    who = " or ".join(sorted(named))
    if count > len(able):
        raise Problem(
            "conflict", f"{count} of {who} have to approve, and beside you there are only {len(able)}",
            hint=f"Invite another {who} first: nobody approves the own proposal.",
        )  # fmt: skip
    rule = _rule(proposed, action)
    if rule is None:
        return
    named, count = _asked(rule)
    able = [m for m in people if _ROLE_NAMES[m.role] in named]
    most = len(able) - (
        len(able) == len(people)
    )  # whoever proposes the next one is not among those who decide
    if count > most:
        raise Problem(
            "validation_failed",
            f"{FILE_NAME}:{rule.line}: {rule.id} asks for {count} people; {max(most, 0)} could decide about the next "
            "policy, so this one could never be replaced",
            hint=f"Lower count, name more roles in from, or invite another {' or '.join(sorted(named))} first.",
            issues=[{"line": rule.line, "path": "approvals.count", "problem": "out of reach", "hint": "Lower count."}],
        )  # fmt: skip


def _rule(document: Document, action: str) -> ApprovalRule | None:
    return next((rule for rule in document.approvals if action in rule.actions), None)


def _asked(rule: ApprovalRule | None) -> tuple[frozenset[str], int]:
    if rule is None:
        return _WRITERS, 1
    return frozenset(rule.approvers) & _WRITERS or _WRITERS, rule.count
