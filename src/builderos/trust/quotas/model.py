"""Tables of usage and budgets."""

import sqlalchemy as sa

from builderos.core.tables import metadata


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


usage = sa.Table(
    "usage",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("actor", sa.Text, primary_key=True),
    *(_count(name) for name in ("requests", "writes", "refused", "failed", "busy_ms")),
    *(_count(name) for name in ("commits", "merges", "sandboxes", "approvals", "commands", "cpu_ms")),
)
tool_usage = sa.Table(
    "tool_usage",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("tool", sa.Text, primary_key=True),
    *(_count(name) for name in ("calls", "failed", "busy_ms")),
)
error_usage = sa.Table(
    "error_usage",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("code", sa.Text, primary_key=True),
    _count("calls"),
)
budgets = sa.Table(
    "budgets",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("repo_id", sa.Text, primary_key=True),
    sa.Column("meter", sa.Text, primary_key=True),
    sa.Column("period", sa.Text, primary_key=True),
    sa.Column("amount", sa.Double, nullable=False),
    sa.Column("set_by", sa.Text, nullable=False),
    sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("told", sa.Text),
    sa.Column("told_since", sa.Date),
)
project_usage = sa.Table(
    "project_usage",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("repo_id", sa.Text, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    *(sa.Column(name, sa.Double, nullable=False) for name in ("cpu_s", "memory_s", "gpu_s")),
)
usage_periods = sa.Table(
    "usage_periods",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("closed_at", sa.DateTime(timezone=True), nullable=False),
)
