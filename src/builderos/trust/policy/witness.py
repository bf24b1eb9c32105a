"""Compare what the tables say of decisions and of the policy file with the ledger, which alone cannot be rewritten."""

from typing import Any

import sqlalchemy as sa

from builderos.core.unit import Unit
from builderos.trust.ledger import service as ledger

from .force import digest_of, is_recorded
from .model import approvals, policies, policy_versions

_DECIDED = frozenset({"approved", "denied"})


def findings(unit: Unit) -> list[str]:
    """Approvals and policies that say something else than the ledger does, in words."""
    return [*_policies(unit), *_approvals(unit)]


def _policies(unit: Unit) -> list[str]:
    p, v = policies.c, policy_versions.c
    wanted = sa.select(v.version, p.id, p.digest, p.content).select_from(
        policy_versions.join(policies, v.policy_id == p.id)
    )
    found: list[str] = []
    for row in unit.execute(wanted.order_by(v.version)):
        if digest_of(row.content) != row.digest:
            found.append(
                f"version {row.version} of the policy is another text than the one that was approved"
            )
        elif not is_recorded(unit, row.id, row.version, row.digest):
            found.append(f"version {row.version} of the policy came into force without a line in the ledger")
    return found


def _approvals(unit: Unit) -> list[str]:
    c = approvals.c
    decided = sa.select(c.id, c.state, c.decisions).where(sa.func.jsonb_array_length(c.decisions) > 0)
    said = _said(unit)
    found: list[str] = []
    for row in unit.execute(decided.order_by(c.id)):
        lines = said.get(row.id, [])
        told = [(d["who"], d["verdict"], d["when"]) for d in row.decisions]
        if told != [(d["who"], d["verdict"], d["when"]) for d in lines]:
            found.append(f"the decisions of {row.id} are not those in the ledger")
        elif row.state in _DECIDED and lines[-1]["state"] != row.state:
            found.append(f"{row.id} is {row.state}, and the ledger says {lines[-1]['state']}")
    return found


def _said(unit: Unit) -> dict[str, list[dict[str, Any]]]:
    """Decisions by approval, in their order, as the ledger has them."""
    said: dict[str, list[dict[str, Any]]] = {}
    for line in ledger.lines_typed(unit, "approval.decided"):
        said.setdefault(line["object"], []).append(line["payload"])
    return said
