"""Backups of branches and key files."""

import sqlalchemy as sa

from builderos.core.unit import Unit

from .model import backups


def restorable(unit: Unit, branch_id: str) -> list[str]:
    """Ids of a branch's backups, newest first."""
    wanted = sa.select(backups.c.id).where(backups.c.branch_id == branch_id).order_by(backups.c.id.desc()).limit(50)
    return list(unit.execute(wanted).scalars())
