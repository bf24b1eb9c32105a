"""Where a deployment comes from, as edges of one graph with runs, commits and approvals."""

from collections.abc import Callable, Mapping
from typing import Final

from builderos.core.unit import Unit

from .reading import seen

Edge = tuple[str, str, str]


def of_deployment(unit: Unit, id_: str) -> list[Edge]:
    """A deployment, what it serves, and who let it. Raises `not_found`."""
    row = seen(unit, id_)
    subject = f"deployment:{row.id}"
    told = (
        ("deployed_by", "run", row.run_id), ("deployed_by", "step", row.step_id), ("serves", "tree", row.built_tree),
        ("made_of", "tree", row.tree), ("made_of", "commit", row.commit_sha), ("needed", "approval", row.approval_id),
        ("replaced", "deployment", row.replaces), ("started_by", "actor", row.created_by),
    )  # fmt: skip
    edges = [(subject, relation, f"{kind}:{value}") for relation, kind, value in told if value]
    rules = dict.fromkeys(str(event.get("rule") or "") for event in row.policy_events)
    return edges + [(subject, "decided_by", f"rule:{rule}") for rule in rules if rule]


ORIGINS: Final[Mapping[str, Callable[[Unit, str], list[Edge]]]] = {"dep": of_deployment}
