"""Tables of the checks of tasks; see `0001_checks.sql`."""

import sqlalchemy as sa

from builderos.core.tables import metadata

task_checks = sa.Table(
    "task_checks",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("branch_id", sa.Text, primary_key=True),
    sa.Column("commit_sha", sa.Text, primary_key=True),
    sa.Column("task_id", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("reverted_by", sa.Text),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("decided_at", sa.DateTime(timezone=True)),
)
check_cursors = sa.Table(
    "check_cursors",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
)
