"""Which project a repository is in."""

from typing import Annotated

import sqlalchemy as sa
from pydantic import Field

from builderos.core.problems import Problem
from builderos.core.schema import Line, Out, WriteIn
from builderos.core.unit import Unit
from builderos.trust.identity.service import roles
from builderos.trust.ledger import service as ledger
from builderos.trust.orgs import service as orgs
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource

from .model import repositories


class MoveIn(WriteIn):
    """Where the repository goes."""

    id: Line
    project_id: Annotated[
        Line | None, Field(description="The project that it is in from now on; null or empty: in none.")
    ]


class Moved(Out):
    """Where the repository is now."""

    id: str
    repo_name: str
    project_id: str | None
    workspace_id: str | None
    credentials_ended: int


def move(unit: Unit, body: MoveIn) -> Moved:
    """Put a repository into a project, or out of every one; who may do what in it follows.

    Workspace tokens of members who may not build there any more end. Raises `not_found`, and `illegal_transition` for
    an archived project.
    """
    policy.require(unit, "repo.read", policy.org_resource(unit))
    c = repositories.c
    row = unit.execute(sa.select(repositories).where(c.id == body.id).with_for_update()).one_or_none()
    if row is None or row.deleted_at is not None:
        raise Problem("not_found", "there is no such repository", hint="List the repositories first.")
    here = Resource(kind="repo", id=row.id, org_id=unit.org_id, repo_id=row.id, project=row.name)
    decision = policy.require(unit, "repo.protect", here)
    target = orgs.places.project_for(unit, body.project_id) if body.project_id else None
    project_id = target.id if target is not None else None
    unit.execute(sa.update(repositories).where(c.id == row.id).values(project_id=project_id))
    ended = roles.end_what_no_longer_holds(unit, repo_id=row.id)
    payload = {
        "repo": row.name, "from": row.project_id, "to": project_id, "credentials_ended": ended,
    }  # fmt: skip
    ledger.record(unit, "repo.moved", row.id, payload, rules=decision.rules)
    return Moved(
        id=row.id, repo_name=row.name, project_id=project_id,
        workspace_id=target.workspace_id if target is not None else None, credentials_ended=ended,
    )  # fmt: skip
