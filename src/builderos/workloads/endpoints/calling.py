"""One call of an endpoint: who may, and what answers."""

from collections.abc import Callable, Sequence
from typing import Any

from builderos.core.actor import is_anonymous, is_named
from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.unit import Call, Unit, perform
from builderos.trust.audit import service as audit
from builderos.trust.policy import service as policy

from . import rows
from .choosing import Chosen, Counts
from .standing import Standing, picked, standing


def admit(
    context: Context,
    calls: Sequence[Call],
    id_: str,
    early: "Callable[[list[Chosen | Problem]], None]",
    stood: tuple[bytes, str] | None = None,
) -> "tuple[list[Chosen | Problem], Standing | None]":
    """Ask whether these calls of one actor may be, in one transaction; each is written down as an access.

    `early` is told before that is on the disk: the model may work meanwhile, and its answer leaves once this returns.
    `stood`: what `stands` said of their credential; then calls like these may be let `admit_again` by what is returned.
    Raises `not_found`, `Refused`; what differs from call to call (`rate_limited`, `unavailable`) stands in the list.
    """

    def verb(unit: Unit) -> "tuple[list[Chosen | Problem], Standing | None]":
        file = unit.get(policy.InForce).of(unit)
        row = _asked(unit, id_)
        found = _choose(unit, calls, row)
        early(found)
        if stood is None or any(isinstance(one, Problem) for one in found):
            return found, None
        return found, standing(unit, stood, row, file)

    return perform(context, calls[0], verb, read_only=True)


def callable_by(unit: Unit, id_: str) -> str:
    """Id of an endpoint that the unit's actor may call. Raises `not_found`, `Refused`, `policy_denied`."""
    return str(_asked(unit, id_).id)


def _asked(unit: Unit, id_: str) -> Any:
    rules = policy.require(unit, "endpoint.invoke", policy.org_resource(unit)).rules
    actor = unit.actor
    if is_anonymous(actor):  # before anything of endpoints is learned
        raise Problem(
            "policy_denied", "endpoints are for people who signed in",
            hint="Sign in, or use an API key.", policy_rule="known-people-call-endpoints",
        )  # fmt: skip
    row = rows.called(unit, id_)
    own = row.policy
    if not (is_named(actor, f"endpoint:{row.name}") or is_named(actor, f"endpoint:{row.id}")):
        raise Problem(
            "policy_denied", "the manifest of this app or session does not name this endpoint",
            hint="Name it in endpoints of the app or session.", rules=list(rules),
        )  # fmt: skip
    named = {actor.id, actor.member_id, actor.credential_id}
    if (own["roles"] and actor.role not in own["roles"]) or (
        own["actors"] and named.isdisjoint(own["actors"])
    ):
        raise Problem(
            "policy_denied", "the policy of this endpoint does not let you call it",
            hint="Whoever manages it names roles and actors that may.", rules=list(rules),
        )  # fmt: skip
    return row


def _choose(unit: Unit, calls: Sequence[Call], row: Any) -> "list[Chosen | Problem]":
    found: list[Chosen | Problem] = []
    for call in calls:
        unit.call = call  # the access is this one's
        try:
            found.append(_chosen(unit, row))
        except Problem as problem:
            found.append(problem)
    return found


def _chosen(unit: Unit, row: Any) -> Chosen:
    if row.policy["per_minute"]:
        unit.get(Counts).spend(row.id, row.policy["per_minute"])
    if not row.traffic:
        raise Problem(
            "unavailable", "nothing answers at this endpoint yet", hint="Show it: its deployments say why."
        )
    audit.access.note(unit, "endpoint.invoke", row.id)
    shares = list(row.traffic.items())
    return Chosen(unit.org_id, row.id, picked(shares), row.shadow, unit.actor.id, row.payloads["rate"])
