"""The table of executions."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from builderos.core.tables import metadata


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _number(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Double, nullable=False)


def _size(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def _list(name: str) -> sa.Column[Any]:
    return sa.Column(name, JSONB, nullable=False)


sandbox_runs = sa.Table(
    "sandbox_runs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    *_texts("org_id", "name", "run_id", "step_id"),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("repo_id", sa.Text),
    sa.Column("budget_repo_id", sa.Text),
    _size("memory"),
    sa.Column("gpu", sa.Integer, nullable=False),
    *_texts("provider", "sandbox_id", "place", "runtime", "runtime_digest", "profile"),
    sa.Column("tier", sa.Text),
    *_texts("status"),
    sa.Column("reason", sa.Text),
    sa.Column("exit_code", sa.Integer),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("logs_ref", sa.Text),
    sa.Column("preview_url", sa.Text),
    sa.Column("truncated", sa.Boolean, nullable=False),
    *(_number(name) for name in ("cpu_s", "wall_s")),
    *(_size(name) for name in ("memory_peak", "io_read", "io_written", "output_bytes")),
    *(_size(name) for name in ("network_sent", "network_received")),
    _number("price"),
    *(_list(name) for name in ("hosts", "secrets", "egress", "policy_events")),
    *_texts("created_by"),
    sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("finished_at", sa.DateTime(timezone=True)),
)
