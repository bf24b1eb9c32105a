"""Callers who come again and again: what they were let in for a moment ago holds while nothing of it has changed.

Whoever was let in is remembered with all that this rested on. The next calls are asked about in one statement that
writes their accesses down where credential and endpoint stand as they did, and else fails: then they are asked about
from the beginning. So nothing is answered that the rows of this moment do not allow, and most calls cost one round
trip that several share.
"""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.problems import Problem
from builderos.core.unit import Call, Unit, perform
from builderos.trust.identity import service as identity
from builderos.trust.policy import service as policy

from .choosing import Chosen, Counts

HOLDS_S: Final = 1.0  # as long as another process may take to see a new policy file, too


@dataclass(slots=True)
class Standing:
    """That a credential may call an endpoint. `stood`: what the credential stood for before it was looked at."""

    hash: bytes
    stood: str
    org_id: str
    endpoint_id: str
    changed: datetime
    file: Any
    per_minute: int | None
    shares: list[tuple[str, int]]
    shadow: str | None
    actor_id: str
    rate: float
    until: float = field(default_factory=lambda: time.monotonic() + HOLDS_S)

    def holds(self, context: Context) -> bool:
        """Whether it may be asked about in short: else from the beginning."""
        return time.monotonic() < self.until and context.get(policy.InForce).known(self.org_id) is self.file

    def gives(self, chosen: Chosen) -> bool:
        """Whether that may answer a call."""
        return any(chosen.deployment_id == id_ for id_, _ in self.shares)

    def choose(self) -> Chosen:
        """What answers a call."""
        return Chosen(
            self.org_id, self.endpoint_id, picked(self.shares), self.shadow, self.actor_id, self.rate
        )


def picked(shares: Sequence[tuple[str, int]]) -> str:
    """One of several by their shares."""
    if len(shares) == 1:
        return shares[0][0]
    return random.choices([id_ for id_, _ in shares], [share for _, share in shares])[0]  # noqa: S311 - no secret


def stands(context: Context, secret: str) -> tuple[bytes, str] | None:
    """Hash of a secret and what it stands for, to be asked for before the secret is looked at; None: for nothing."""
    hashed = context.get(identity.Hasher)(secret)
    rows = context.get(Database).ask("select ops.credential_stands(%s)", (hashed,))
    return (hashed, rows[0][0]) if rows[0][0] is not None else None


def standing(unit: Unit, stood: tuple[bytes, str], row: Any, file: Any) -> Standing:
    """For who was let in by `row`, and by the policy `file` that was in force before that was asked."""
    return Standing(
        *stood, unit.org_id, row.id, row.updated_at, file, row.policy["per_minute"], list(row.traffic.items()),
        row.shadow, unit.actor.id, row.payloads["rate"],
    )  # fmt: skip


def admit_again(
    context: Context, calls: Sequence[Call], one: Standing, chosen: Sequence[Chosen]
) -> "list[Chosen | Problem] | None":
    """Let in calls of one actor that `chosen` answer; None where that does not stand any more.

    Their accesses are on the disk when this returns. What differs from call to call (`rate_limited`) is in the list.
    """
    found: list[Chosen | Problem] = []
    let_in: list[Call] = []
    for call, answers in zip(calls, chosen, strict=True):
        try:
            if one.per_minute:
                context.get(Counts).spend(one.endpoint_id, one.per_minute)
        except Problem as problem:
            found.append(problem)
        else:
            found.append(answers)
            let_in.append(call)

    def verb(unit: Unit) -> None:
        actor, call = unit.actor, unit.call
        unit.send(
            "ops.note_calls", one.hash, one.stood, one.endpoint_id, one.changed, unit.now, actor.id, actor.name,
            actor.role, call.door, call.tool, [each.request_id for each in let_in],
        )  # fmt: skip

    if let_in:
        try:
            perform(context, let_in[0], verb)
        except Problem as problem:
            if problem.code != "conflict":
                raise
            return None
    return found
