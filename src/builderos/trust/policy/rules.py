"""The rule set in force: checked once at load, then asked in microseconds.

Cedar skips a forbid whose evaluation errors and names the deciding rules in no order; here any error is a denial, and
the first rule in file order speaks.
"""

import hashlib
import json
import logging
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

import cedarpy

from builderos.core.actor import Actor

from .actions import Action
from .loading import ERROR, NO_MATCH, Rule, check_rules, parse_policies, parse_schema
from .schema import NO_CONTEXT, Decision, RequestContext, Resource, ResourceKind

_NO_MATCH_HINT: Final = "No rule allows this for your credential; ask the owner for one with the needed scope."
_ERROR_HINT: Final = "The rules could not be applied to this request; the server's log says why."
_CACHED_DECISIONS: Final = 8192
_TYPES: Final[dict[ResourceKind, str]] = {
    "alert": "Alert",
    "approval": "Approval",
    "backup": "Backup",
    "branch": "Branch",
    "credential": "Credential",
    "ledger": "Ledger",
    "org": "Org",
    "pull": "Pull",
    "repo": "Repo",
    "sandbox": "Sandbox",
    "schedule": "Schedule",
    "tool": "Tool",
}
_ENUMERATED: Final = (
    ("branch_kind", "BranchKind"),
    ("role", "Role"),
    ("source", "ImportSource"),
    ("target_kind", "BranchKind"),
)
_log = logging.getLogger(__name__)


class Policy:
    """An immutable, validated set of rules, safe to share between threads. Build it with `from_text` or `default`.

    `digest` is the SHA-256 (hex) of rules and schema, `rules` lists them in file order.
    """

    def __init__(self, cedar: str, schema: str) -> None:
        self._schema = parse_schema(schema)
        self._policies = parse_policies(cedar)
        self._by_name = check_rules(cedar, self._schema)
        self.rules: tuple[Rule, ...] = tuple(self._by_name.values())
        self.digest: str = hashlib.sha256(json.dumps([cedar, schema]).encode()).hexdigest()
        # One cache per set: the key is every argument with all its fields, and the set itself by ownership.
        self._evaluate = lru_cache(maxsize=_CACHED_DECISIONS)(self._evaluate_uncached)

    @classmethod
    def from_text(cls, cedar: str, schema: str) -> "Policy":
        """Load rules; raises `Problem("validation_failed")` for anything not certainly meant as written.

        That is: text or schema that does not parse; a rule that the schema refutes; a missing or repeated `@id`; a
        forbid without a `@code` of SPEC §2 and a `@hint`; an unknown annotation; `has` with an undeclared name; a
        template.
        """
        return cls(cedar, schema)

    @classmethod
    def default(cls) -> "Policy":
        """The rules shipped with the product."""
        room = files(__package__)
        cedar, schema = room / "default.cedar", room / "schema.cedarschema"
        return cls(cedar.read_text("utf-8"), schema.read_text("utf-8"))

    def decide(
        self,
        actor: Actor,
        action: Action,
        resource: Resource,
        context: RequestContext = NO_CONTEXT,
        approved_digests: frozenset[str] = frozenset(),
    ) -> Decision:
        """Whether `actor` may do `action` to `resource`; a refusal is an answer, not an exception.

        `needs_approval` only if every rule in the way carries `@require("approval")` and the same request would be
        allowed once approved. `approved_digests`: digests of the approvals that are granted and still valid.
        """
        decision = self._evaluate(actor, action, resource, context, False)
        if decision.verdict == "needs_approval" and decision.digest in approved_digests:
            return self._evaluate(actor, action, resource, context, True)
        return decision

    def _evaluate_uncached(
        self, actor: Actor, action: Action, resource: Resource, context: RequestContext, approved: bool
    ) -> Decision:
        digest = request_digest(actor, action, resource, context)
        answer = self._ask(actor, action, resource, context, approved)
        if answer is None:
            return Decision("deny", (ERROR,), "policy_denied", _ERROR_HINT, digest)
        allowed, rules = answer
        ids = tuple(rule.id for rule in rules)
        if allowed:
            return Decision("allow", ids, "", "", digest)
        if not rules:
            return Decision("deny", (NO_MATCH,), "policy_denied", _NO_MATCH_HINT, digest)
        if not approved and all(rule.requires_approval for rule in rules):
            # Only the approval is missing: ask as if it were there, so that nobody is asked to approve in vain.
            granted = self._evaluate(actor, action, resource, context, True)
            if granted.verdict != "allow":
                return granted
            return Decision("needs_approval", ids, "approval_required", rules[0].hint, digest)
        # A missing approval is not the reason while something else is in the way.
        reasons = [rule for rule in rules if not rule.requires_approval] or rules
        return Decision("deny", tuple(rule.id for rule in reasons), reasons[0].code, reasons[0].hint, digest)

    def _ask(
        self, actor: Actor, action: Action, resource: Resource, context: RequestContext, approved: bool
    ) -> tuple[bool, list[Rule]] | None:
        """One evaluation: whether it is a clean allow and the deciding rules in file order; None on any error."""
        # Ids as objects, not as Cedar source: a quote in an id must never become syntax.
        request = {
            "principal": {"type": "Actor", "id": actor.id},
            "action": {"type": "Action", "id": action},
            "resource": {"type": _TYPES[resource.kind], "id": resource.id},
            "context": json.dumps({**_circumstances(context), "approved": approved}),
        }
        try:
            result = cedarpy.is_authorized(request, self._policies, _entities(actor, resource), self._schema)
        except ValueError as error:  # text that is not Unicode, such as a lone surrogate
            _log.error("%s on %s could not be evaluated: %s", action, resource.kind, error)
            return None
        errors = result.diagnostics.errors
        if errors or result.decision is cedarpy.Decision.NoDecision:
            _log.error("%s on %s could not be evaluated: %s", action, resource.kind, "; ".join(errors))
            return None
        rules = [self._by_name[name] for name in result.diagnostics.reasons]
        return result.decision is cedarpy.Decision.Allow, sorted(rules, key=lambda rule: rule.order)


def request_digest(
    actor: Actor, action: Action, resource: Resource, context: RequestContext = NO_CONTEXT
) -> str:
    """SHA-256 (hex) of the canonical request: on whose request, what, to which object with its facts, how."""
    request = {
        "action": action,
        "context": _circumstances(context),
        "requested_by": context.requested_by or actor.id,
        "resource": {"type": _TYPES[resource.kind], "id": resource.id, **_facts(resource)},
    }
    return hashlib.sha256(json.dumps(request, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _entities(actor: Actor, resource: Resource) -> str:
    """The two entities of a request as JSON: parsing a small slice costs less than adding to a large shared set."""
    person: dict[str, Any] = {
        "org_id": actor.org_id,
        "profile": {"type": "Profile", "id": actor.profile},
        "scopes": sorted(actor.scopes),
    }
    if actor.repo_id is not None:
        person["repo_id"] = actor.repo_id
    if actor.sandbox_id is not None:
        person["sandbox_id"] = actor.sandbox_id
    subject = {"uid": {"type": "Actor", "id": actor.id}, "attrs": person}
    thing = {"uid": {"type": _TYPES[resource.kind], "id": resource.id}, "attrs": _facts(resource)}
    return json.dumps([{**subject, "parents": [{"type": "Role", "id": actor.role}]}, {**thing, "parents": []}])


def _facts(resource: Resource) -> dict[str, Any]:
    """The resource's attributes. A fact it lacks is absent rather than empty: two absences must never match."""
    facts: dict[str, Any] = {"org_id": resource.org_id}
    for name in ("repo_id", "sandbox_id", "target_sandbox_id"):
        if (value := getattr(resource, name)) is not None:
            facts[name] = value
    for name, enum in _ENUMERATED:
        if (value := getattr(resource, name)) is not None:
            facts[name] = {"type": enum, "id": value}
    if resource.default_write:
        facts["default_write"] = True
    if resource.scopes is not None:
        facts["scopes"] = sorted(resource.scopes)
    return facts


def _circumstances(context: RequestContext) -> dict[str, Any]:
    return {
        "anonymous_mode": context.anonymous_mode,
        "diff_hash": context.diff_hash,
        "paths": context.paths,
        "requested_by": context.requested_by,
    }
