"""What pushes left to write: the server never moves a branch under a git client, so the changelog entry of a push waits
here until the server's next own commit or the promotion writes it into the delivery file."""

from typing import Any

import sqlalchemy as sa

from builderos.core.unit import Unit

from .model import pending_delivery
from .schema import Branch


def pending_of(unit: Unit, branch: Branch) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Changelog entries and memory items of pushes that no commit has written yet, oldest first."""
    if branch.pending == 0:
        return [], []
    rows = unit.execute(
        sa.select(pending_delivery.c.entry, pending_delivery.c.memory)
        .where(pending_delivery.c.branch_id == branch.id)
        .order_by(pending_delivery.c.id)
    ).all()
    return [r.entry for r in rows], [item for r in rows for item in r.memory]


def fold_pending(unit: Unit, branch: Branch) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Like `pending_of`, and forget them: the caller writes them in the same transaction."""
    found = pending_of(unit, branch)
    if branch.pending:
        unit.execute(sa.delete(pending_delivery).where(pending_delivery.c.branch_id == branch.id))
    return found


def add_pending(
    unit: Unit, branch: Branch, commit_sha: str, entry: dict[str, Any], memory: list[dict[str, Any]]
) -> None:
    """Keep what a push means for the delivery files; the caller raises the branch's `pending` count with its move."""
    unit.execute(
        sa.insert(pending_delivery).values(
            org_id=unit.org_id, branch_id=branch.id, commit_sha=commit_sha, entry=entry, memory=memory
        )
    )
