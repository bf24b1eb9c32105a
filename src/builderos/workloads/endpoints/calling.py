"""One call of an endpoint: who may, how often, and which deployment answers."""

import random
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from builderos.core.actor import is_anonymous, is_named
from builderos.core.clock import utcnow
from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.unit import Call, Unit, perform
from builderos.trust.audit import service as audit
from builderos.trust.policy import service as policy

from . import rows

_REMEMBERED: Final = 1000


@dataclass(frozen=True, slots=True)
class Chosen:
    """What answers a call."""

    org_id: str
    endpoint_id: str
    deployment_id: str
    shadow_id: str | None = None


class Counts:
    """Calls of each endpoint in the minute that goes on, by this process."""

    def __init__(self) -> None:
        self._minutes: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._lock = threading.Lock()

    def spend(self, endpoint_id: str, limit: int) -> None:
        """Count one. Raises `rate_limited`."""
        minute = int(utcnow().timestamp()) // 60
        with self._lock:
            at, count = self._minutes.pop(endpoint_id, (minute, 0))
            count = count + 1 if at == minute else 1
            self._minutes[endpoint_id] = (minute, count)
            while len(self._minutes) > _REMEMBERED:
                self._minutes.popitem(last=False)
        if count > limit:
            raise Problem(
                "rate_limited",
                f"this endpoint is called {limit} times a minute at most",
                hint="Wait.",
                limit=limit,
            )


def admit(
    context: Context, calls: Sequence[Call], id_: str, early: "Callable[[list[Chosen | Problem]], None]"
) -> "list[Chosen | Problem]":
    """Ask whether these calls of one actor may be, in one transaction; each is written down as an access.

    `early` is told before that is on the disk: the model may work meanwhile, and its answer leaves once this returns.
    Raises `not_found`, `Refused`; what differs from call to call (`rate_limited`, `unavailable`) stands in the list.
    """

    def verb(unit: Unit) -> "list[Chosen | Problem]":
        found = _choose(unit, calls, id_)
        early(found)
        return found

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


def _choose(unit: Unit, calls: Sequence[Call], id_: str) -> "list[Chosen | Problem]":
    row = _asked(unit, id_)
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
    ids = list(row.traffic)
    shares = [row.traffic[one] for one in ids]
    chosen = random.choices(ids, shares)[0] if len(ids) > 1 else ids[0]  # noqa: S311 - no secret
    audit.access.note(unit, "endpoint.invoke", row.id)
    return Chosen(unit.org_id, row.id, chosen, row.shadow)
