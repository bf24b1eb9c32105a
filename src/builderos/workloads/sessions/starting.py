"""Starting sessions, ending them, starting them again."""

import zlib
from typing import Any, Final

import sqlalchemy as sa

from builderos.assets.workspaces import service as workspaces
from builderos.core.ids import new_id
from builderos.core.operations import Reply
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.engine import signals
from builderos.engine.service import Engine
from builderos.execution.compute import service as compute
from builderos.execution.compute.service import SandboxProviders
from builderos.execution.runs import service as runs
from builderos.execution.serving.service import badges
from builderos.trust.ledger import service as ledger
from builderos.workloads.lineage import service as lineage

from . import rows
from .keeping import Keeper
from .model import sessions
from .reading import shown
from .schema import OPEN, Session, SessionActIn, SessionStartIn

_LOCK: Final = 7305  # of those who count sessions
_ENDED: Final = ("stopped", "failed", "timed_out")


def start(unit: Unit, body: SessionStartIn) -> Reply[Session]:
    """Start a notebook or a shell on a branch's files; it is `starting` when this returns.

    Raises what `locate` raises, `runtime_not_approved`, `budget_exceeded`, `quota_exceeded`, `not_found` for a project
    that the repository does not belong to.
    """
    place = workspaces.locate(unit, body, "session.start")
    branch = place.branch
    project = (branch.home or "").partition("|")[0] or None
    if body.project_id not in (None, project):
        raise Problem(
            "not_found", "the repository does not belong to this project", hint="Leave project_id out."
        )
    runtime, _, profile = compute.runtime_of(unit, branch.repo_id, body.runtime, body.profile)
    compute.require_budget(unit, branch.repo_id, runtime, profile)
    calls = badges.Calls(tuple(dict.fromkeys(body.endpoints)), tuple(dict.fromkeys(body.models)))
    reaches = badges.checked(unit, calls)
    _check_quota(unit)
    id_ = new_id("nbs")
    values: dict[str, Any] = {
        "id": id_, "org_id": unit.org_id, "project_id": project, "repo_id": branch.repo_id, "branch_id": branch.id,
        "repo_name": branch.repo_name, "branch": branch.name, "kind": body.kind, "editor": body.editor,
        "runtime": runtime, "profile": profile, "status": "starting", "detail": "",
        "idle_timeout": body.idle_timeout, "starts": 1, "machine": unit.get(SandboxProviders).place,
        "logs_ref": f"logs/sessions/{id_}.log", "calls": calls.as_json(), "actor": runs.actor_json(unit.actor),
        "created_by": unit.actor.id, "created_at": unit.now,
    }  # fmt: skip
    unit.execute(sa.insert(sessions).values(values))
    for name, endpoint_id in reaches.items():
        node = lineage.Node("endpoint", endpoint_id, name)
        lineage.record(unit, node, lineage.Node("session", id_, f"{body.kind} on {branch.name}"), "used_by")
    return _begun(unit, id_, place.rules)


def restart(unit: Unit, body: SessionActIn) -> Reply[Session]:
    """Start a session that is over again, with its files; on behalf of whoever asks now.

    Raises `illegal_transition` where it is not over, and what `start` raises.
    """
    row = rows.find(unit, body.id, lock=True)
    decision = rows.require(unit, "session.start", row)
    if row.status not in _ENDED:
        raise Problem(
            "illegal_transition", f"this session is {row.status}", hint="Stop it first.", allowed=[]
        )
    here = unit.get(SandboxProviders).place
    if row.machine != here:
        raise Problem(
            "unavailable", "another machine holds the files of this session",
            hint="Start a new one: what was committed is on the branch.",
        )  # fmt: skip
    compute.runtime_of(unit, row.repo_id, row.runtime, row.profile)
    compute.require_budget(unit, row.repo_id, row.runtime, row.profile)
    badges.checked(unit, badges.Calls.of(row.calls))
    _check_quota(unit)
    rows.change(
        unit, row.id, status="starting", reason=None, detail="", starts=row.starts + 1, started_at=None,
        ended_at=None, actor=runs.actor_json(unit.actor), usage=None, sandbox_run_id=None,
    )  # fmt: skip
    return _begun(unit, row.id, decision.rules)


def stop(unit: Unit, body: SessionActIn) -> Session:
    """End a session; its files are kept. Raises `illegal_transition` where it is over."""
    row = rows.find(unit, body.id, lock=True)
    decision = rows.require(unit, "session.stop", row)
    if row.status not in OPEN:
        raise Problem(
            "illegal_transition", f"this session is {row.status} already", hint="Start it again.", allowed=[]
        )
    if row.status != "stopping":
        rows.change(unit, row.id, status="stopping", detail=body.reason[:500])
        runs.events.add(unit, row.id, "session.stopping", {"status": "stopping", "reason": body.reason[:500]})
        ledger.record(
            unit, "session.stopping", row.id, rows.payload_of(row, reason=body.reason), rules=decision.rules
        )
    _tell(unit, "stop", row.id)
    return shown(rows.find(unit, row.id))


def checkpoint(unit: Unit, body: SessionActIn) -> Reply[Session]:
    """Have the files of a session that runs committed to its branch now. Raises `illegal_transition`."""
    row = rows.find(unit, body.id)
    rows.require(unit, "session.start", row)
    if row.status not in ("running", "idle"):
        raise Problem(
            "illegal_transition", f"this session is {row.status}", hint="Wait until it runs.", allowed=[]
        )
    _tell(unit, "keep", row.id)
    return Reply(202, shown(row))


def _begun(unit: Unit, id_: str, rules: tuple[str, ...]) -> Reply[Session]:
    row = rows.find(unit, id_)
    runs.events.add(unit, id_, "session.starting", {"status": "starting", "start": row.starts})
    ledger.record(unit, "session.started", id_, rows.payload_of(row), rules=rules)
    keeper, org_id = unit.get(Keeper), unit.org_id
    keeper.claim(id_)
    if Engine in unit.context:  # else this process begins nothing that goes on behind its requests
        unit.after_commit(lambda: keeper.begin(org_id, id_))
    return Reply(202, shown(row))


def _tell(unit: Unit, what: str, id_: str) -> None:
    """This process and all others."""
    about = f"{unit.org_id} {id_} {what}"
    keeper = unit.get(Keeper)
    unit.after_commit(lambda: keeper.heard(about))
    signals.tell(unit, rows.WORD, about)


def _check_quota(unit: Unit) -> None:
    """Raise `quota_exceeded` where as many sessions run as may at once."""
    limit, c = unit.settings.max_sessions, sessions.c
    unit.ask(
        "pg_advisory_xact_lock", _LOCK, zlib.crc32(unit.org_id.encode()) - 2**31
    )  # one counts after the other
    used = unit.execute(sa.select(sa.func.count()).where(c.ended_at.is_(None))).scalar_one()
    if used >= limit:
        raise Problem(
            "quota_exceeded", f"{used} sessions run; the limit is {limit}",
            hint="Stop one that nobody needs: builderos session stop ID.", limit=limit, used=used, resets_at=None,
        )  # fmt: skip
