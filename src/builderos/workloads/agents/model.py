"""Tables of the room; see `0001_agents.sql`."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from builderos.core.tables import metadata

sessions = sa.Table(
    "agent_sessions",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("step_id", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("agent", sa.Text, nullable=False),
    sa.Column("spec", JSONB, nullable=False),
    sa.Column("tree", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("interrupted_by", sa.Text),
    sa.Column("attempt", sa.Integer),
    sa.Column("outcome", JSONB(none_as_null=True)),
    sa.Column("model_calls", sa.Integer, nullable=False),
    sa.Column("tool_calls", sa.Integer, nullable=False),
    sa.Column("input_tokens", sa.BigInteger, nullable=False),
    sa.Column("output_tokens", sa.BigInteger, nullable=False),
    sa.Column("cost", sa.Double, nullable=False),
    sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("ended_at", sa.DateTime(timezone=True)),
)

calls = sa.Table(
    "agent_calls",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("step_id", sa.Text, primary_key=True),
    sa.Column("session", sa.Integer, primary_key=True),
    sa.Column("n", sa.Integer, primary_key=True),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("request", JSONB, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("response", JSONB(none_as_null=True)),
    sa.Column("tree", sa.Text),
    sa.Column("usage", JSONB, nullable=False),
    sa.Column("decision", JSONB, nullable=False),
    sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("ended_at", sa.DateTime(timezone=True)),
)

messages = sa.Table(
    "agent_messages",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("step_id", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("said_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("session", sa.Integer),
    sa.Column("n", sa.Integer),
)

comments = sa.Table(
    "run_comments",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("n", sa.BigInteger, sa.Identity(always=True), nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("side", sa.Text, nullable=False),
    sa.Column("line", sa.Integer),
    sa.Column("snippet", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("author_name", sa.Text, nullable=False),
    sa.Column("said_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("step_id", sa.Text),
    sa.Column("told_at", sa.DateTime(timezone=True)),
)
