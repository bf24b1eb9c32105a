"""What executions cost, by the prices of their profiles at that time."""

import sqlalchemy as sa

from builderos.core.unit import Unit

from .model import sandbox_runs


def credits_of(unit: Unit, run_id: str) -> float:
    """Credits that the commands of a run have used so far, those included that run now."""
    return _standing(unit, run_id)[0]


def seconds_left(unit: Unit, run_id: str, credits: float) -> float:
    """How long the commands that run now may go on together until they have used `credits`; 0 where they have."""
    used, per_s = _standing(unit, run_id)
    if used >= credits:
        return 0.0
    return (credits - used) / per_s if per_s else float("inf")


def _standing(unit: Unit, run_id: str) -> tuple[float, float]:
    """Credits used, and credits that are used in a second from now on."""
    c = sandbox_runs.c
    running = c.finished_at.is_(None)
    so_far = sa.func.extract("epoch", sa.literal(unit.now) - c.started_at).cast(sa.Double)
    took = sa.case((running, sa.func.greatest(so_far, 0.0)), else_=c.wall_s)
    used = sa.func.coalesce(sa.func.sum(c.price * took / 3600.0), 0.0)
    per_s = sa.func.coalesce(sa.func.sum(sa.case((running, c.price / 3600.0), else_=0.0)), 0.0)
    wanted = sa.select(used.label("used"), per_s.label("per_s")).where(c.run_id == run_id)
    row = unit.execute(wanted).one()
    return float(row.used), float(row.per_s)
