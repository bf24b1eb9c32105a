"""What the room of artifacts is told of runs."""

import sqlalchemy as sa

from builderos.assets.artifacts.ports import RunFacts
from builderos.assets.repositories import service as repositories
from builderos.assets.workspaces import service as workspaces
from builderos.core.unit import Unit

from .model import runs


def facts_of(unit: Unit, run_id: str) -> RunFacts | None:
    """Where a run belongs; None where there is none."""
    c = runs.c
    row = unit.execute(sa.select(c.repo_id, c.branch_id, c.pipeline).where(c.id == run_id)).one_or_none()
    if row is None:
        return None
    sandbox_id = None
    if row.branch_id is not None:
        branch = repositories.branch_by_id(unit, row.branch_id)
        sandbox_id = workspaces.branch_resource(unit, branch).sandbox_id
    return RunFacts(row.repo_id, sandbox_id, row.pipeline)
