"""Rows of sessions without a process behind them."""

import sqlalchemy as sa

from builderos.assets.repositories import service as repositories
from builderos.core.ids import new_id
from builderos.core.unit import Unit
from builderos.execution.compute.service import SandboxProviders
from builderos.execution.runs import service as runs
from builderos.workloads.sessions.model import sessions


def stand_session(unit: Unit, branch_id: str, status: str) -> str:
    """A notebook on a branch that stands so; its id."""
    branch, id_ = repositories.branch_by_id(unit, branch_id), new_id("nbs")
    over = status in ("stopped", "failed", "timed_out")
    unit.execute(
        sa.insert(sessions).values(
            id=id_, org_id=unit.org_id, repo_id=branch.repo_id, branch_id=branch_id, repo_name=branch.repo_name,
            branch=branch.name, kind="notebook", editor="jupyter", runtime="local", profile="small", status=status,
            detail="", idle_timeout=1800, starts=1, machine=unit.get(SandboxProviders).place,
            url=None if over else f"http://127.0.0.1:1/s/{id_}/", logs_ref=f"logs/sessions/{id_}.log",
            actor=runs.actor_json(unit.actor), created_by=unit.actor.id, created_at=unit.now,
            ended_at=unit.now if over else None,
        )
    )  # fmt: skip
    return id_
