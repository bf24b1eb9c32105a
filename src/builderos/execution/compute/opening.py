"""Before a command starts: may it, with what, where. One unit that ends in the row of the execution."""

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.core.ids import new_id
from builderos.core.unit import Unit
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource
from builderos.trust.vault import service as vault

from .model import sandbox_runs
from .orders import Order
from .providers import SandboxProviders
from .schema import Limits, Secret, Spec

FINAL: Final = frozenset({"success", "failed", "timeout"})
_WALL_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Opened:
    """The row as it was found or made; `spec` where the command may have to be started."""

    row: sa.Row[Any]
    fresh: bool
    spec: Spec | None


def open_row(unit: Unit, order: Order) -> Opened:
    """The row of this name, made where there is none; then everything that the policy has to say was asked.

    Raises what `execute` says; then there is no row.
    """
    found = _row(unit, order.name)
    if found is not None and found.status in FINAL:
        return Opened(found, fresh=False, spec=None)
    where = _place_of(unit, order)
    hosts, events = _granted(unit, order, where)
    spec = Spec(
        order.name, order.command, order.workspace, runtime=order.runtime, env=tuple(order.env.items()),
        secrets=_secrets(unit, order, where), hosts=hosts,
        limits=Limits(wall_s=min(order.timeout_s or _WALL_S, _WALL_S)),
    )  # fmt: skip
    spec.check()
    if found is not None:
        return Opened(found, fresh=False, spec=spec)
    providers = unit.get(SandboxProviders)
    values: dict[str, Any] = {
        "id": new_id("sbr"), "org_id": unit.org_id, "name": order.name, "run_id": order.run_id,
        "step_id": order.step_id, "attempt": order.attempt, "repo_id": order.repo_id, "provider": "local",
        "sandbox_id": order.name,
        "place": providers.place, "runtime": order.runtime or "local", "runtime_digest": "", "profile": order.profile,
        "status": "running", "logs_ref": order.logs_ref, "hosts": list(hosts),
        "secrets": [asked.name for asked in order.secrets], "policy_events": events, "created_by": unit.actor.id,
        "started_at": unit.now,
    }  # fmt: skip
    made = insert(sandbox_runs).values(values).on_conflict_do_nothing().returning(sandbox_runs)
    row = unit.execute(made).one_or_none()
    if row is not None:
        return Opened(row, fresh=True, spec=spec)
    found = _row(unit, order.name)  # somebody else was faster
    assert found is not None
    return Opened(found, fresh=False, spec=spec)


def _row(unit: Unit, name: str) -> sa.Row[Any] | None:
    return unit.execute(sa.select(sandbox_runs).where(sandbox_runs.c.name == name)).one_or_none()


def _place_of(unit: Unit, order: Order) -> Resource:
    if order.repo_id is None:
        return policy.org_resource(unit)
    return Resource(
        kind="repo", id=order.repo_id, org_id=unit.org_id, repo_id=order.repo_id, branch=order.branch,
        environment=order.environment,
    )  # fmt: skip


def _granted(unit: Unit, order: Order, where: Resource) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    """The hosts that the policy grants of those asked for, and what it said to each."""
    granted: list[str] = []
    events: list[dict[str, Any]] = []
    for host in dict.fromkeys(order.network):
        decision = policy.may_reach(unit, host.partition(":")[0], where)
        if decision.verdict == "allow":
            granted.append(host)
        rule = decision.rules[0] if decision.rules else ""
        events.append({"rule": rule, "decision": decision.verdict, "what": f"network {host}"})
    return tuple(granted), events


def _secrets(unit: Unit, order: Order, where: Resource) -> tuple[Secret, ...]:
    """Values for names, all or none of them. Raises `policy_denied`, `not_found`."""
    if not order.secrets:
        return ()
    names = [asked.name for asked in order.secrets]
    values = vault.release(unit, names, f"run {order.run_id} step {order.step_id}"[:200], where)
    return tuple(
        Secret(asked.variable or asked.name, values[asked.name], as_file=asked.as_file)
        for asked in order.secrets
    )


def drop_row(unit: Unit, id_: str) -> sa.Row[Any] | None:
    """Take the row away; one that is final stays, and is returned."""
    c = sandbox_runs.c
    unit.execute(sa.delete(sandbox_runs).where(c.id == id_, c.finished_at.is_(None)))
    return unit.execute(sa.select(sandbox_runs).where(c.id == id_)).one_or_none()
