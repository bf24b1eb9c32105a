"""What executions cost, by the prices of their profiles at that time."""

import sqlalchemy as sa

from builderos.core.unit import Unit

from .model import sandbox_runs


def credits_of(unit: Unit, run_id: str) -> float:
    """Credits that the commands of a run have used so far."""
    c = sandbox_runs.c
    spent = sa.func.coalesce(sa.func.sum(c.price * c.wall_s / 3600.0), 0.0)
    return float(unit.execute(sa.select(spent).where(c.run_id == run_id)).scalar_one())
