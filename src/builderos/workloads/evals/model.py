"""Tables of evals; see `0001_evals.sql`."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from builderos.core.tables import metadata

evals = sa.Table(
    "evals",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("suite", sa.Text, nullable=False),
    sa.Column("suite_digest", sa.Text, nullable=False),
    sa.Column("prompt", sa.Text),
    sa.Column("version", sa.Text),
    sa.Column("rank", sa.Text),
    sa.Column("sha256", sa.Text),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("repo_id", sa.Text),
    sa.Column("repo_name", sa.Text, nullable=False),
    sa.Column("branch_id", sa.Text),
    sa.Column("branch", sa.Text, nullable=False),
    sa.Column("counts", sa.Boolean, nullable=False),
    sa.Column("verdict", sa.Text, nullable=False),
    sa.Column("pass_rate", sa.Double, nullable=False),
    sa.Column("cases", sa.Integer, nullable=False),
    sa.Column("document", JSONB, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
)
eval_trials = sa.Table(
    "eval_trials",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("step", sa.Text, primary_key=True),
    sa.Column("suite_digest", sa.Text, primary_key=True),
    sa.Column("cell", sa.Text, primary_key=True),
    sa.Column("repeat", sa.Integer, primary_key=True),
    sa.Column("document", JSONB, nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
)
