"""The rule set in force: checked once at load, then asked in microseconds.

Cedar skips a forbid whose evaluation errors and names the deciding rules in no order. Here any error is a
denial, and the first rule in file order speaks.
"""

import hashlib
import json
import logging
from dataclasses import replace
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final, NamedTuple, cast

import cedarpy
import orjson

from builderos.core.actor import Actor, Profile, Role

from .actions import Action
from .loading import ERROR, NO_MATCH, Rule, check_rules, parse_policies, parse_schema
from .narrowing import NarrowedSets
from .renaming import Ids, compares_only, renamed
from .schema import NO_CONTEXT, BranchKind, Decision, ImportSource, RequestContext, Resource, ResourceKind

_NO_MATCH_HINT: Final = (
    "No rule allows this for your credential; ask the owner for one with the needed scope."
)
_ERROR_HINT: Final = "The rules could not be applied to this request; the server's log says why."
_CACHED_DECISIONS: Final = 8192
_TYPES: Final[dict[ResourceKind, str]] = {
    "alert": "Alert",
    "approval": "Approval",
    "artifact": "Artifact",
    "backup": "Backup",
    "branch": "Branch",
    "credential": "Credential",
    "ledger": "Ledger",
    "member": "Member",
    "model": "Model",
    "org": "Org",
    "project": "Project",
    "pull": "Pull",
    "repo": "Repo",
    "sandbox": "Sandbox",
    "schedule": "Schedule",
    "tool": "Tool",
    "workspace": "Workspace",
}
_ENUMERATED: Final = (
    ("branch_kind", "BranchKind"),
    ("role", "Role"),
    ("source", "ImportSource"),
    ("target_kind", "BranchKind"),
)
_ERROR: Final = Decision("deny", (ERROR,), "policy_denied", _ERROR_HINT, "")
_log = logging.getLogger(__name__)


def shipped() -> str:
    """The rules that come with the product, as one text."""
    room = files("builderos.trust.policy")
    return "".join((room / name).read_text("utf-8") for name in ("default.cedar", "members.cedar"))


class Policy:
    """An immutable, validated set of rules, safe to share between threads; see `from_text` and `default`.

    `digest` is the SHA-256 (hex) of rules and schema, `rules` lists them in file order.
    """

    def __init__(self, cedar: str, schema: str) -> None:
        self._schema = parse_schema(schema)
        policies = parse_policies(cedar)
        self._by_name = check_rules(cedar, policies, self._schema)
        self._sets = NarrowedSets(policies, self._schema)
        self.rules: tuple[Rule, ...] = tuple(self._by_name.values())
        self.digest: str = hashlib.sha256(json.dumps([cedar, schema]).encode()).hexdigest()
        # Paths are the one fact that differs from call to call. While no rule reads them, Cedar need not see them.
        self._reads_paths = '"paths"' in json.dumps(policies)
        self._renames = compares_only(policies)
        # The cache belongs to this set, so its digest needs no place in its keys; every other fact is an argument.
        self._judge = lru_cache(maxsize=_CACHED_DECISIONS)(self._judge_uncached)

    @classmethod
    def from_text(cls, cedar: str, schema: str) -> "Policy":
        """Load rules; raises `Problem("validation_failed")` for anything not certainly meant as written.

        That is: text or schema that does not parse; a rule that the schema refutes; a missing or repeated
        `@id`; a forbid without a `@code` of SPEC §2 and a `@hint`; an unknown annotation; `has` with an
        undeclared name; a template.
        """
        return cls(cedar, schema)

    @classmethod
    def default(cls) -> "Policy":
        """The rules shipped with the product."""
        schema = files("builderos.trust.policy") / "schema.cedarschema"
        return cls(shipped(), schema.read_text("utf-8"))

    def decide(
        self,
        actor: Actor,
        action: Action,
        resource: Resource,
        context: RequestContext = NO_CONTEXT,
        approved_digests: frozenset[str] = frozenset(),
    ) -> Decision:
        """Whether `actor` may do `action` to `resource`; a refusal is an answer, not an exception.

        `needs_approval` only if every rule in the way carries `@require("approval")` and the same request
        would be allowed once approved. `approved_digests`: of the approvals granted and still valid.
        """
        decision = self._decide(actor, action, resource, context, False)
        if decision.verdict == "needs_approval" and decision.digest in approved_digests:
            return self._decide(actor, action, resource, context, True)
        return decision

    def _decide(
        self, actor: Actor, action: Action, resource: Resource, context: RequestContext, approved: bool
    ) -> Decision:
        """What the rules say to what they see, bound to the whole request by its digest."""
        judged = self._judge(self._question(actor, action, resource, context, approved))
        if judged.rules == (ERROR,):
            return judged  # no digest, hence nothing to approve
        try:
            return replace(judged, digest=request_digest(actor, action, resource, context))
        except TypeError as error:
            _log.error("%s on %s has no digest: %r", action, resource.kind, error)
            return _ERROR

    def _question(
        self, actor: Actor, action: Action, resource: Resource, context: RequestContext, approved: bool
    ) -> "_Question":
        """All that the rules can see of a request."""
        ids = (
            actor.org_id, actor.repo_id, actor.sandbox_id,
            resource.org_id, resource.repo_id, resource.sandbox_id, resource.target_sandbox_id,
            actor.id, resource.id,
        )  # fmt: skip
        return _Question(
            actor.role, actor.profile, actor.scopes, action, resource.kind, resource.branch_kind,
            resource.default_write, resource.target_kind, resource.source, resource.role, resource.scopes,
            context.anonymous_mode, context.paths if self._reads_paths else (), approved,
            renamed(ids) if self._renames else ids,
        )  # fmt: skip

    def _judge_uncached(self, asked: "_Question") -> Decision:
        """The decision without its digest."""
        answer = self._ask(asked)
        if answer is None:
            return _ERROR
        allowed, rules = answer
        ids = tuple(rule.id for rule in rules)
        if allowed:
            return Decision("allow", ids, "", "", "")
        if not rules:
            return Decision("deny", (NO_MATCH,), "policy_denied", _NO_MATCH_HINT, "")
        if not asked.approved and all(rule.requires_approval for rule in rules):
            # Only the approval is missing: ask as if it were there, so that nobody approves in vain.
            granted = self._judge(asked._replace(approved=True))
            if granted.verdict != "allow":
                return granted
            return Decision("needs_approval", ids, "approval_required", rules[0].hint, "")
        # A missing approval is not the reason while something else is in the way.
        reasons = [rule for rule in rules if not rule.requires_approval] or rules
        return Decision("deny", tuple(rule.id for rule in reasons), reasons[0].code, reasons[0].hint, "")

    def _ask(self, asked: "_Question") -> tuple[bool, list[Rule]] | None:
        """One evaluation: whether it allows, and the deciding rules in file order; None on any error."""
        actor, resource = asked.actor(), asked.resource()
        kind = _TYPES.get(resource.kind, "")
        seen = {"anonymous_mode": asked.anonymous_mode, "approved": asked.approved, "paths": asked.paths}
        try:
            # Ids as objects, not as Cedar source: a quote in an id must never become syntax.
            request = {
                "principal": {"type": "Actor", "id": actor.id},
                "action": {"type": "Action", "id": asked.action},
                "resource": {"type": kind, "id": resource.id},
                "context": _json(seen),
            }
            # Two entities parsed per request cost less than extending a large shared set of them.
            entities = f"[{_person(actor)},{_thing(resource)}]"
            result = cedarpy.is_authorized(  # pyright: ignore[reportUnknownMemberType] - bare dicts
                request, self._sets.get(actor.role, asked.action, kind), entities, self._schema
            )
        except (orjson.JSONEncodeError, ValueError, KeyError) as error:
            # Text that is not Unicode (a lone surrogate), or a role, action or kind of object without rules.
            _log.error("%s on %s could not be evaluated: %r", asked.action, resource.kind, error)
            return None
        errors = result.diagnostics.errors
        if errors or result.decision is cedarpy.Decision.NoDecision:
            _log.error("%s on %s could not be evaluated: %s", asked.action, resource.kind, "; ".join(errors))
            return None
        rules = [self._by_name[name] for name in result.diagnostics.reasons]
        return result.decision is cedarpy.Decision.Allow, sorted(rules, key=lambda rule: rule.order)


class _Question(NamedTuple):
    """What of a request the rules can see; equal ones have one answer. `ids`: as `Policy._question` orders them."""

    role: Role
    profile: Profile
    scopes: frozenset[str]
    action: Action
    kind: ResourceKind
    branch_kind: BranchKind | None
    default_write: bool
    target_kind: BranchKind | None
    source: ImportSource | None
    granted_role: Role | None
    granted_scopes: frozenset[str] | None
    anonymous_mode: bool
    paths: tuple[str, ...]
    approved: bool
    ids: Ids

    def actor(self) -> Actor:
        """Who asks."""
        org, repo, sandbox = self.ids[:3]
        return Actor(
            self.role, cast(str, self.ids[7]), "", cast(str, org), self.profile, self.scopes,
            repo_id=repo, sandbox_id=sandbox,
        )  # fmt: skip

    def resource(self) -> Resource:
        """What is acted upon."""
        org, repo, sandbox, target = self.ids[3:7]
        return Resource(
            self.kind, cast(str, self.ids[8]), cast(str, org), repo, self.branch_kind, sandbox,
            self.default_write, self.target_kind, target, self.source, self.granted_role, self.granted_scopes,
        )  # fmt: skip


def request_digest(
    actor: Actor, action: Action, resource: Resource, context: RequestContext = NO_CONTEXT
) -> str:
    """SHA-256 (hex) of the canonical request: on whose request, what, to which object with its facts, how.

    Raises `TypeError` for text that is not Unicode (a lone surrogate).
    """
    by = context.requested_by or actor.id
    how = _json([by, action, context.anonymous_mode, context.diff_hash, context.paths])
    return hashlib.sha256(f"{how}\n{_thing(resource)}".encode()).hexdigest()


def _json(value: object) -> str:
    """Canonical JSON: sorted keys, no white space."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _entity(kind: str, identity: str, attributes: dict[str, Any], parents: list[dict[str, str]]) -> str:
    return _json({"uid": {"type": kind, "id": identity}, "attrs": attributes, "parents": parents})


def _person(actor: Actor) -> str:
    facts: dict[str, Any] = {
        "org_id": actor.org_id,
        "profile": {"type": "Profile", "id": actor.profile},
        "scopes": sorted(actor.scopes),
    }
    if actor.repo_id is not None:
        facts["repo_id"] = actor.repo_id
    if actor.sandbox_id is not None:
        facts["sandbox_id"] = actor.sandbox_id
    return _entity("Actor", actor.id, facts, [{"type": "Role", "id": actor.role}])


def _thing(resource: Resource) -> str:
    return _entity(_TYPES[resource.kind], resource.id, _facts(resource), [])


def _facts(resource: Resource) -> dict[str, Any]:
    """The resource's attributes; one it lacks is absent, not empty, since two absences must never match."""
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
