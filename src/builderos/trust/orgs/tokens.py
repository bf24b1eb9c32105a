"""Personal tokens and tokens of service accounts: a part of the role, for a time, until they are revoked."""

from datetime import timedelta
from typing import Final, Literal

from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource

from . import schema, sessions
from .members import resource

LIFE: Final = timedelta(days=90)
LONGEST: Final = timedelta(days=366)


def create(unit: Unit, body: schema.TokenIn) -> schema.NewToken:
    """Make a token. Nobody gives it a scope that the own credential lacks; a program's token approves nothing."""
    expires_at = body.expires_at or unit.now + LIFE
    if not unit.now < expires_at <= unit.now + LONGEST:
        raise Problem(
            "validation_failed", "expires_at must lie in the future, at most a year away",
            hint="Make a new token before the old one ends.",
        )  # fmt: skip
    scopes: list[str] = sorted(set(body.scopes))
    kind: Literal["personal", "service"] = "service" if body.service_account else "personal"
    holder, decision = _holder(unit, body, scopes)
    made = identity.issue(
        unit, kind, actor_name=holder.label, actor_id=holder.id, profile="full", scopes=tuple(scopes),
        label=body.label, expires_at=expires_at, member_id=holder.id,
    )  # fmt: skip
    payload = {"kind": kind, "member": holder.id, "scopes": scopes}
    ledger.record(unit, "credential.created", made.id, payload, rules=decision.rules)
    return schema.NewToken(
        id=made.id, token=made.secret, label=body.label, scopes=scopes, expires_at=expires_at,
        message="Save the token now: it is not shown again.",
    )  # fmt: skip


def _holder(
    unit: Unit, body: schema.TokenIn, scopes: list[str]
) -> tuple[identity.members.Member, policy.Decision]:
    """Whose token it will be, and why the caller may make it."""
    if body.service_account is None:
        decision = policy.require(unit, "token.create", _token(unit, scopes))
        sessions.by_oneself(unit)
        return identity.members.find(unit, unit.actor.id), decision
    policy.require(unit, "member.manage", resource(unit, body.service_account, "viewer"))
    sessions.by_oneself(unit)
    holder = identity.members.find(unit, body.service_account)
    decision = policy.require(unit, "member.manage", resource(unit, holder.id, holder.role))
    if unit.actor.member_id is not None:
        policy.require(unit, "token.create", _token(unit, scopes))
    if holder.kind != "service":
        raise Problem(
            "validation_failed",
            "this member is a person, who makes the own tokens",
            hint="Name a service account.",
        )
    if "approve" in scopes:
        raise Problem("validation_failed", "a program approves nothing", hint="Leave out the scope approve.")
    return holder, decision


def listed(unit: Unit, _body: schema.Nothing) -> schema.TokenList:
    """Live tokens, oldest first: the own ones, and those of service accounts for whoever manages these."""
    items: list[schema.Token] = []
    if unit.actor.member_id is not None:
        policy.require(unit, "me.manage", policy.org_resource(unit))
        own = identity.list_credentials(unit, "personal", member_id=unit.actor.member_id)
        items += [schema.Token(kind="personal", **row) for row in own]
    else:
        policy.require(unit, "member.manage", resource(unit, "list", "viewer"))
    if policy.decide(unit, "member.manage", resource(unit, "list", "viewer")).verdict == "allow":
        programs = identity.list_credentials(unit, "service")
        items += [schema.Token(kind="service", **row) for row in programs]
    return schema.TokenList(items=items)


def revoke(unit: Unit, body: schema.Which) -> schema.Gone:
    """End a token that `listed` shows to the caller."""
    if body.id not in {token.id for token in listed(unit, schema.Nothing()).items}:
        raise Problem("not_found", "there is no live token with this id", hint="List the tokens first.")
    identity.revoke(unit, credential_id=body.id)
    ledger.record(unit, "credential.revoked", body.id, {"kind": "token"})
    return schema.Gone(id=body.id, message="The token has ended.")


def _token(unit: Unit, scopes: list[str]) -> Resource:
    return Resource(
        kind="credential", id="new", org_id=unit.org_id, role=unit.actor.role, scopes=frozenset(scopes)
    )
