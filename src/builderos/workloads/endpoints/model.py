"""Tables of the room; see `0001_endpoints.sql`."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from builderos.core.tables import metadata


def _at(name: str, *, nullable: bool = False, key: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable, primary_key=key)


endpoints = sa.Table(
    "endpoints",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("env", sa.Text, nullable=False),
    sa.Column("policy", JSONB, nullable=False),
    sa.Column("runtime", sa.Text, nullable=False),
    sa.Column("profile", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("traffic", JSONB, nullable=False),
    sa.Column("before", JSONB(none_as_null=True)),
    sa.Column("shadow", sa.Text),
    sa.Column("numbers", sa.Integer, nullable=False),
    sa.Column("machine", sa.Text, nullable=False),
    sa.Column("scaling", JSONB, nullable=False),
    sa.Column("payloads", JSONB, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    _at("created_at"),
    _at("updated_at"),
)
deployments = sa.Table(
    "model_deployments",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("endpoint_id", sa.Text, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("version_id", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("actor", JSONB, nullable=False),
    sa.Column("starts", sa.Integer, nullable=False),
    sa.Column("replicas", sa.Integer, nullable=False),
    sa.Column("drift", JSONB(none_as_null=True)),
    _at("created_at"),
    _at("ready_at", nullable=True),
    _at("ended_at", nullable=True),
)
calls = sa.Table(
    "endpoint_calls",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("endpoint_id", sa.Text, nullable=False),
    sa.Column("deployment_id", sa.Text, primary_key=True),
    _at("minute", key=True),
    sa.Column("calls", sa.BigInteger, nullable=False),
    sa.Column("errors", sa.BigInteger, nullable=False),
    sa.Column("refused", sa.BigInteger, nullable=False),
    sa.Column("compared", sa.BigInteger, nullable=False),
    sa.Column("differed", sa.BigInteger, nullable=False),
    sa.Column("buckets", ARRAY(sa.BigInteger), nullable=False),
)
scoring_jobs = sa.Table(
    "scoring_jobs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    *(
        sa.Column(name, sa.Text, nullable=False)
        for name in ("org_id", "version_id", "model", "dataset_id", "dataset", "file")
    ),
    sa.Column("spec", JSONB, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("repo_id", sa.Text),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("rows_total", sa.BigInteger),
    sa.Column("rows_done", sa.BigInteger, nullable=False),
    sa.Column("chunks_done", sa.Integer, nullable=False),
    sa.Column("artifact_id", sa.Text),
    sa.Column("result", sa.Text),
    sa.Column("error", JSONB(none_as_null=True)),
    sa.Column("created_by", sa.Text, nullable=False),
    _at("created_at"),
    _at("started_at", nullable=True),
    _at("ended_at", nullable=True),
)
payloads = sa.Table(
    "endpoint_payloads",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("endpoint_id", sa.Text, nullable=False),
    sa.Column("deployment_id", sa.Text, nullable=False),
    _at("at"),
    _at("expires_at"),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("ms", sa.Double, nullable=False),
    sa.Column("input", sa.Text, nullable=False),
    sa.Column("output", sa.Text, nullable=False),
    sa.Column("cut", sa.Boolean, nullable=False),
)
