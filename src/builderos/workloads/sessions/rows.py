"""Sessions as rows, and what happens to them. Each function is part of a unit of its caller."""

from pathlib import Path
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from builderos.assets.repositories import service as repositories
from builderos.assets.workspaces import service as workspaces
from builderos.core.actor import Actor
from builderos.core.home import project_state
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.execution.runs import service as runs
from builderos.execution.serving.service import badges
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource

from .model import sessions, tokens
from .schema import OPEN, Status

Row: TypeAlias = sa.Row[Any]
WORD: Final = "sessions"
FOLDER: Final = "sessions"
_EVENTS: Final[dict[str, str]] = {
    "stopped": "session.stopped", "failed": "session.failed", "timed_out": "session.timed_out",
}  # fmt: skip


def find(unit: Unit, id_: str, *, lock: bool = False) -> Row:
    """The row of a session. Raises `not_found`."""
    wanted = sa.select(sessions).where(sessions.c.id == id_)
    row = unit.execute(wanted.with_for_update() if lock else wanted).one_or_none()
    if row is None:
        raise unknown()
    return row


def unknown() -> Problem:
    """There is no such session, or nobody here may know of it."""
    return Problem("not_found", "there is no such session", hint="List the sessions first.")


def resource_of(unit: Unit, row: Row) -> Resource:
    """A session as the policy sees it: its branch."""
    return workspaces.branch_resource(unit, repositories.branch_by_id(unit, row.branch_id))


def subject(unit: Unit, id_: str) -> Resource:
    """The session with this id as the policy sees it. Raises `not_found`."""
    return resource_of(unit, find(unit, id_))


def require(unit: Unit, action: policy.Action, row: Row) -> policy.Decision:
    """Ask the policy. Of another one's sandbox nobody learns that it is there: `not_found`."""
    try:
        return policy.require(unit, action, resource_of(unit, row))
    except policy.Refused as refused:
        if refused.code not in ("forbidden_branch", "not_found") or unit.actor.sandbox_id is None:
            raise
        raise unknown() from None


def actor_of(unit: Unit, row: Row) -> Actor:
    """On whose behalf it runs, with the rights of now. Raises `token_invalid` where they may act no more."""
    return still(unit, runs.actor_of(row.actor))


def still(unit: Unit, actor: Actor) -> Actor:
    """The actor with the rights of now. Raises `token_invalid`."""
    if actor.credential_id is None:
        return actor
    found = identity.still(unit, actor)
    if found is None:
        raise Problem(
            "token_invalid", "whoever this session belongs to may act no more: the credential was revoked or is over",
            hint="Start a session with a credential that is valid.",
        )  # fmt: skip
    return found


def state_of(unit: Unit, row: Row) -> Path:
    """The `.builderos/` folder that a session belongs to."""
    return project_state(unit.settings.home_dir, unit.org_id, row.project_id)


def files_of(unit: Unit, row: Row) -> Path:
    """The folder in which it works."""
    return state_of(unit, row) / FOLDER / row.id / "files"


def change(unit: Unit, id_: str, **values: Any) -> None:
    """Write columns of a session."""
    unit.execute(sa.update(sessions).where(sessions.c.id == id_).values(**values))


def payload_of(row: Row, **more: Any) -> dict[str, Any]:
    """What every line of the ledger about a session says."""
    said = {
        "kind": row.kind, "runtime": row.runtime, "profile": row.profile, "repo": row.repo_name,
        "repo_id": row.repo_id, "branch": row.branch, "start": row.starts, **more,
    }  # fmt: skip
    return {key: value for key, value in said.items() if value not in (None, "")}


def move(unit: Unit, id_: str, status: Status, **values: Any) -> bool:
    """Have a session that is not over stand otherwise; whether it does."""
    row = find(unit, id_, lock=True)
    if row.status == status or row.status not in OPEN or row.status == "stopping":
        return False
    change(unit, id_, status=status, **values)
    runs.events.add(unit, id_, f"session.{status}", {"status": status})
    return True


def finish(
    unit: Unit, id_: str, status: Status, reason: str, detail: str, **values: Any
) -> bool:  # fmt: skip
    """It is over; whether it was not before. Its tokens go with it."""
    row = find(unit, id_, lock=True)
    if row.status not in OPEN:
        return False
    change(
        unit, id_, status=status, reason=reason, detail=detail[:2000], url=None, ended_at=unit.now, **values
    )
    unit.execute(sa.delete(tokens).where(tokens.c.session_id == id_))
    badges.revoke(unit, id_)
    said = {"status": status, "reason": reason, "detail": detail[:500]}
    runs.events.add(unit, id_, _EVENTS[status], said)
    ledger.record(unit, _EVENTS[status], id_, payload_of(row, reason=reason, detail=detail[:500]))
    return True
