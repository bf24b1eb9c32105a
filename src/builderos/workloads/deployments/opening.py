"""Before anything is deployed: may it, what exactly, where to. One unit that ends in the row of the deployment."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import Branch
from builderos.assets.repositories.service import Scratch
from builderos.assets.workspaces import service as workspaces
from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.core.steps import Work
from builderos.core.unit import Unit
from builderos.execution.compute.service import SandboxProviders
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import RequestContext
from builderos.trust.policy.service import approvals

from .manifest import FILE, Manifest, read_manifest
from .model import deployments, places
from .rows import UNDER_WAY, Row, fail, find, resource_in
from .schema import Environment

PROVIDER: Final = "local"
ACTIONS: Final[dict[Environment, policy.Action]] = {
    "preview": "deploy.preview", "dev": "deploy.dev", "stage": "deploy.stage", "prod": "deploy.prod",
}  # fmt: skip
BACK: Final[dict[str, policy.Action]] = {
    env: "deploy.rollback_prod" if env == "prod" else "deploy.rollback" for env in ACTIONS
}


@dataclass(frozen=True, slots=True)
class Source:
    """What is to be deployed: a tree of the branch, and what it says of that."""

    branch: Branch
    tree: str
    manifest: Manifest
    scratch: Scratch
    commit_sha: str | None


@dataclass(frozen=True, slots=True)
class Opened:
    """The row as it was found or made; or the id of the approval that it waits for, and no row."""

    row: Row | None
    approval: str = ""


def source_of(unit: Unit, work: Work, env: str) -> Source | None:
    """What a step would deploy; None where the branch does not say how. Raises `branch_required`, and
    `validation_failed` for a file that is wrong.
    """
    if work.branch_id is None:
        raise Problem("branch_required", "this run has no branch", hint="Start it with a branch.")
    branch = repositories.branch_by_id(unit, work.branch_id)
    repositories.ready(unit, branch)
    scratch = Scratch.of(unit.context, unit.org_id, work.repo_id, branch.store)
    tree = work.input_tree or work.base_tree or scratch.tree_of(str(work.base_sha))
    entry = scratch.entry(tree, FILE)
    if entry is None or entry.is_tree or entry.mode == repositories.LINK:
        return None
    text = scratch.read(entry.oid).decode("utf-8", "replace")
    same = scratch.tree_of(branch.tip) == tree
    return Source(branch, tree, read_manifest(text, env), scratch, branch.tip if same else None)


def open_row(unit: Unit, work: Work, env: Environment) -> Opened:
    """The row of this attempt, made where there is none; then the policy has allowed it.

    Raises `policy_denied`, `validation_failed`, `quota_exceeded`, `branch_required`; then there is no row.
    """
    c = deployments.c
    known = unit.execute(sa.select(deployments).where(c.name == work.name_of_attempt)).one_or_none()
    if known is not None:
        return Opened(known)
    source = source_of(unit, work, env)
    if source is None:
        raise Problem(
            "validation_failed", f"there is no {FILE} at the top of the branch",
            hint="Commit one that says how it is served; docs/technical/deployments.md shows examples.",
        )  # fmt: skip
    place = _place(unit, source.branch, env)
    decision, approval = _allowed(unit, work, source, env, place)
    if decision is None:
        return Opened(None, approval)
    _check_quota(unit, place)
    for row in unit.execute(sa.select(c.id).where(c.step_id == work.step_id, c.status.in_(UNDER_WAY))).all():
        fail(unit, row.id, "lost", "another attempt took over")
    id_, number = new_id("dep"), place.numbers + 1
    unit.execute(sa.update(places).where(places.c.id == place.id).values(numbers=number))
    values: dict[str, Any] = {
        "id": id_, "org_id": unit.org_id, "place_id": place.id, "number": number, "name": work.name_of_attempt,
        "run_id": work.run_id, "step_id": work.step_id, "project_id": work.project_id,
        "repo_id": source.branch.repo_id, "branch_id": source.branch.id, "repo_name": source.branch.repo_name,
        "branch": source.branch.name, "provider": place.provider, "env": env, "status": "queued", "detail": "",
        "tree": source.tree, "commit_sha": source.commit_sha, "manifest": source.manifest.as_json(),
        "logs_ref": f"logs/deployments/{id_}.log", "approval_id": approval or None,
        "policy_events": [{"rule": rule, "decision": "allow", "what": ACTIONS[env]} for rule in decision.rules],
        "created_by": unit.actor.id, "created_at": unit.now,
    }  # fmt: skip
    unit.execute(sa.insert(deployments).values(values))
    payload = {
        "env": env, "place": place.id, "number": number, "repo": source.branch.repo_name,
        "repo_id": source.branch.repo_id, "branch": source.branch.name, "tree": source.tree, "run_id": work.run_id,
        "step_id": work.step_id, "commit": source.commit_sha, "approval_id": approval,
    }  # fmt: skip
    payload = {key: value for key, value in payload.items() if value}
    ledger.record(unit, "deployment.created", id_, payload, rules=decision.rules)
    return Opened(find(unit, id_))


def _place(unit: Unit, branch: Branch, env: Environment) -> Row:
    """The place, locked: two that deploy there at once are numbered one after the other."""
    c = places.c
    preview = branch.id if env == "preview" else None
    here = unit.get(SandboxProviders).place
    values = {
        "id": new_id("plc"), "org_id": unit.org_id, "repo_id": branch.repo_id, "env": env, "branch_id": preview,
        "provider": PROVIDER, "machine": here, "numbers": 0, "created_at": unit.now,
    }  # fmt: skip
    unit.execute(insert(places).values(values).on_conflict_do_nothing())
    same = c.branch_id == preview if preview is not None else c.branch_id.is_(None)
    wanted = sa.select(places).where(c.repo_id == branch.repo_id, c.env == env, same).with_for_update()
    row = unit.execute(wanted).one()
    if row.machine == here:
        return row
    if row.current_id is not None:
        raise Problem(
            "unavailable",
            "another machine serves this environment",
            hint="Start the run where that machine works.",
        )
    unit.execute(sa.update(places).where(c.id == row.id).values(machine=here, url=None))
    return unit.execute(wanted).one()


def _allowed(
    unit: Unit, work: Work, source: Source, env: Environment, place: Row
) -> tuple[policy.Decision | None, str]:
    """The decision that allows it and the approval behind that; or None and the approval that it waits for."""
    action = ACTIONS[env]
    resource = resource_in(unit, source.branch.id, env)
    shown = {
        "run": work.run_id, "place": place.id, "tree": source.tree, "manifest": source.manifest.as_json(),
    }  # fmt: skip
    digest = "sha256:" + hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()
    context = RequestContext(diff_hash=digest)
    decision = policy.decide(unit, action, resource, context)
    if decision.verdict != "needs_approval":
        return policy.require(unit, action, resource, context), ""
    object_ = f"{work.run_id}/{work.name}"
    granted = approvals.granted(unit, action=action, object_=object_, diff_hash=digest)
    if granted is not None:
        return policy.require(unit, action, resource, context, frozenset({decision.digest})), granted
    return None, _ask(unit, work, source, env, place, digest)


def _ask(unit: Unit, work: Work, source: Source, env: Environment, place: Row, digest: str) -> str:
    """Ask for a yes to exactly this tree, shown against what is live now."""
    live = find(unit, place.current_id) if place.current_id is not None else None
    old = bytes.fromhex(live.tree) if live is not None else repositories.EMPTY_TREE
    if live is not None:
        source.scratch.have(live.tree)
    text, files, stat = workspaces.unified_diff(source.scratch.batch, old, bytes.fromhex(source.tree))
    lines = stat.added + stat.deleted
    paths = [file.path for file in files]
    risk, reasons = policy.assess(target=env, main=env == "prod", paths=paths, deleted=[], lines=lines)
    return approvals.request(
        unit, action=ACTIONS[env], object_=f"{work.run_id}/{work.name}", diff=text, diff_stat=stat.model_dump(),
        diff_hash=digest, reason=f"Deploy {source.branch.name} of {source.branch.repo_name} to {env}.", risk=risk,
        risk_reasons=reasons, where={"repo": source.branch.repo_name, "branch": source.branch.name},
        run_id=work.run_id, step_id=work.step_id,
    )  # fmt: skip


def _check_quota(unit: Unit, place: Row) -> None:
    """Raise `quota_exceeded` where the repository has as many places that answer as it may."""
    if place.current_id is not None:
        return
    c, limit = places.c, unit.settings.max_deployments
    wanted = sa.select(sa.func.count()).where(c.repo_id == place.repo_id, c.current_id.is_not(None))
    used = unit.execute(wanted).scalar_one()
    if used >= limit:
        raise Problem(
            "quota_exceeded", f"{used} environments of this repository are live; the limit is {limit}",
            hint="Stop a preview that nobody needs: builderos deploy stop ID.", limit=limit, used=used,
        )  # fmt: skip
