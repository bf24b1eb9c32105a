"""Before a command starts: may it, with what, where. One unit that ends in the row of the execution."""

import hashlib
import json
import os
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.core.home import EXECUTIONS, JAIL_DOOR
from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource
from builderos.trust.quotas import service as quotas
from builderos.trust.vault import service as vault

from .approved import Approved, Chosen
from .model import sandbox_runs
from .orders import Order
from .providers import SandboxProviders
from .schema import Mount, Probe, Secret, Spec
from .tiers import tier_for

FINAL: Final = frozenset({"success", "failed", "timeout"})


@dataclass(frozen=True, slots=True)
class Opened:
    """The row as it was found or made; `spec` where the command may have to be started. Or the id of the `approval`
    that it waits for, and no row."""

    row: sa.Row[Any] | None
    fresh: bool = False
    spec: Spec | None = None
    approval: str = ""


def open_row(unit: Unit, order: Order) -> Opened:
    """The row of this name, made where there is none; then everything that the policy has to say was asked.

    Raises what `execute` says; then there is no row.
    """
    found = _row(unit, order.name)
    if found is not None and found.status in FINAL:
        return Opened(found)
    chosen = unit.get(Approved).choose(unit, order.repo_id, order.runtime, order.profile)
    probe = unit.get(SandboxProviders).probe(chosen.provider.provider)
    tier = tier_for(unit, order, probe, chosen.provider.tier)
    if tier not in ("strong", "weak", "remote"):
        return Opened(None, approval=tier)
    if (order.serves or order.calls) and tier != "strong":
        raise Problem(
            "unavailable", "this command has to be spoken with, which the strong sandbox of this machine alone allows",
            hint="Use the provider local, on a machine with bubblewrap.",
        )  # fmt: skip
    quotas.budgets.spend_processor(unit, policy.document_in_force(unit).limits.cpu_seconds)
    if found is None:  # what runs already is ended by whoever counts it
        quotas.projects.require(unit, order.budget_repo_id or order.repo_id, gpu=chosen.profile.gpu > 0)
    where = _place_of(unit, order)
    hosts, events = _granted(unit, order, where, chosen.provider.hosts)
    path = {"PATH": chosen.runtime.path} if chosen.runtime.path else {}
    spec = Spec(
        order.name, order.command, order.workspace, runtime=chosen.runtime.name,
        env=tuple((path | dict(order.env)).items()),
        mounts=tuple(Mount(folder, folder) for folder in chosen.runtime.folders),
        secrets=_secrets(unit, order, where), hosts=hosts, limits=chosen.profile.limits(order.timeout_s),
        tier=tier, image=chosen.runtime.image or "", gpu=chosen.profile.gpu, serves=order.serves,
        calls=str(unit.settings.home_dir / EXECUTIONS / JAIL_DOOR) if order.calls else "",
        writable=order.writable,
    )  # fmt: skip
    spec.check()
    if found is None:
        values = _values(unit, order, chosen, probe) | {"hosts": list(hosts), "policy_events": events}
        made = insert(sandbox_runs).values(values).on_conflict_do_nothing().returning(sandbox_runs)
        if (row := unit.execute(made).one_or_none()) is not None:
            return Opened(row, fresh=True, spec=spec)
        found = _row(unit, order.name)  # somebody else was faster
    return Opened(found, spec=spec)


def _values(unit: Unit, order: Order, chosen: Chosen, probe: Probe) -> dict[str, Any]:
    return {
        "id": new_id("sbr"), "org_id": unit.org_id, "name": order.name, "run_id": order.run_id,
        "step_id": order.step_id, "attempt": order.attempt, "repo_id": order.repo_id,
        "budget_repo_id": order.budget_repo_id or order.repo_id, "memory": chosen.profile.memory,
        "gpu": chosen.profile.gpu,
        "provider": chosen.provider.provider, "sandbox_id": order.name, "place": unit.get(SandboxProviders).place,
        "runtime": chosen.runtime.name, "runtime_digest": digest_of(chosen, probe), "profile": chosen.profile.name,
        "price": chosen.profile.price, "status": "running", "logs_ref": order.logs_ref,
        "secrets": [asked.name for asked in order.secrets], "created_by": unit.actor.id, "started_at": unit.now,
    }  # fmt: skip


def runtime_of(unit: Unit, repo_id: str | None, runtime: str, profile: str) -> tuple[str, str, str]:
    """Name and digest of the runtime that a command would find, and the profile's name. Raises like `choose`."""
    chosen = unit.get(Approved).choose(unit, repo_id, runtime, profile)
    probe = unit.get(SandboxProviders).probe(chosen.provider.provider)
    return chosen.runtime.name, digest_of(chosen, probe), chosen.profile.name


def require_budget(
    unit: Unit, repo_id: str | None, runtime: str, profile: str, budget_repo_id: str | None = None
) -> None:
    """Raise `budget_exceeded` where the project has nothing left for commands of this profile; what `choose` raises."""
    chosen = unit.get(Approved).choose(unit, repo_id, runtime, profile)
    quotas.projects.require(unit, budget_repo_id or repo_id, gpu=chosen.profile.gpu > 0)


def digest_of(chosen: Chosen, probe: Probe) -> str:
    """What a command finds, as one hash: the image's, or that of this machine's system and the folders beside it."""
    if chosen.runtime.image:
        return chosen.runtime.image.rpartition("@")[2]
    if not chosen.runtime.folders:
        return probe.digest
    beside = [(folder, _changed(folder)) for folder in chosen.runtime.folders]
    return "sha256:" + hashlib.sha256(json.dumps([probe.digest, beside]).encode()).hexdigest()


def _changed(folder: str) -> int:
    """When something was put there or taken away last, as far as the folder itself tells."""
    try:
        return os.stat(folder).st_mtime_ns
    except FileNotFoundError:
        raise Problem(
            "unavailable", f"the folder {folder} of the runtime is not there",
            hint="Make it, or mend the server's file of runtimes.",
        ) from None  # fmt: skip


def _row(unit: Unit, name: str) -> sa.Row[Any] | None:
    return unit.execute(sa.select(sandbox_runs).where(sandbox_runs.c.name == name)).one_or_none()


def _place_of(unit: Unit, order: Order) -> Resource:
    if order.repo_id is None:
        return policy.org_resource(unit)
    return Resource(
        kind="repo", id=order.repo_id, org_id=unit.org_id, repo_id=order.repo_id, branch=order.branch,
        environment=order.environment,
    )  # fmt: skip


def _granted(
    unit: Unit, order: Order, where: Resource, most: tuple[str, ...] | None
) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    """The hosts of those asked for that the policy grants and the provider's list knows; and what was said to each."""
    granted: list[str] = []
    events: list[dict[str, Any]] = []
    for host in dict.fromkeys(order.network):
        name = host.partition(":")[0]
        decision = policy.may_reach(unit, name, where)
        verdict, rule = decision.verdict, decision.rules[0] if decision.rules else ""
        if verdict == "allow" and most is not None and not {host, name}.intersection(most):
            verdict, rule = "deny", "provider-hosts"
        if verdict == "allow":
            granted.append(host)
        events.append({"rule": rule, "decision": verdict, "what": f"network {host}"})
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
