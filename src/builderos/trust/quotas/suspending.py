"""A token that the server has suspended works again only when somebody with the right has looked at it."""

from builderos.core.problems import Problem
from builderos.core.schema import Line, Out, WriteIn
from builderos.core.unit import Unit
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy

from .crowds import Crowds


class LiftIn(WriteIn):
    """Which credential: its id stands in the alert."""

    id: Line


class Lifted(Out):
    """A credential that works again."""

    id: str
    kind: str
    message: str


def lift(unit: Unit, body: LiftIn) -> Lifted:
    """Let a suspended credential work again. Raises `not_found` for one that is not suspended."""
    decision = policy.require(unit, "credential.lift", policy.org_resource(unit))
    kind = identity.suspend(unit, body.id, lift=True)
    if kind is None:
        raise Problem(
            "not_found", "no such credential is suspended", hint="Its id stands in the alert token_abuse."
        )
    crowds = unit.get(Crowds)
    unit.after_commit(lambda: crowds.forget(body.id))
    ledger.record(unit, "credential.lifted", body.id, {"kind": kind}, rules=decision.rules)
    return Lifted(id=body.id, kind=kind, message="The token works again.")
