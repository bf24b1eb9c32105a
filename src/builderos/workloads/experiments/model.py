"""Tables of experiments; see `0001_experiments.sql`."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from builderos.core.tables import metadata

_AT = sa.DateTime(timezone=True)

experiments = sa.Table(
    "experiments",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("project_id", sa.Text),
    sa.Column("tags", JSONB, nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", _AT, nullable=False),
    sa.Column("updated_at", _AT, nullable=False),
)
runs = sa.Table(
    "experiment_runs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("experiment_id", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("external", sa.Boolean, nullable=False),
    sa.Column("params", JSONB, nullable=False),
    sa.Column("dataset_ref", sa.Text),
    sa.Column("code_sha", sa.Text),
    sa.Column("runtime", sa.Text),
    sa.Column("run_id", sa.Text),
    sa.Column("step", sa.Text),
    sa.Column("sweep", JSONB(none_as_null=True)),
    sa.Column("user_name", sa.Text, nullable=False),
    sa.Column("started_at", sa.BigInteger, nullable=False),
    sa.Column("ended_at", sa.BigInteger),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("deleted_at", _AT),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", _AT, nullable=False),
)
metrics = sa.Table(
    "run_metrics",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("step", sa.BigInteger, primary_key=True),
    sa.Column("at", sa.BigInteger, primary_key=True),
    sa.Column("value", sa.Double, primary_key=True),
)
latest = sa.Table(
    "run_metrics_latest",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("step", sa.BigInteger, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("value", sa.Double, nullable=False),
    sa.Column("experiment_id", sa.Text, nullable=False),
)


def _words(name: str) -> sa.Table:
    return sa.Table(
        name,
        metadata,
        sa.Column("org_id", sa.Text, primary_key=True),
        sa.Column("run_id", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("brief", sa.Text, sa.Computed("left(value, 200)", persisted=True), nullable=False),
        sa.Column("experiment_id", sa.Text, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
    )


params = _words("run_params")
tags = _words("run_tags")
inputs = sa.Table(
    "run_inputs",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("experiment_id", sa.Text, nullable=False),
    sa.Column("document", JSONB, nullable=False),
    sa.Column("tags", JSONB, nullable=False),
)
logged_models = sa.Table(
    "logged_models",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("experiment_id", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("type", sa.Text),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("params", JSONB, nullable=False),
    sa.Column("tags", JSONB, nullable=False),
    sa.Column("metrics", JSONB, nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", _AT, nullable=False),
    sa.Column("updated_at", _AT, nullable=False),
)
run_models = sa.Table(
    "run_models",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("direction", sa.Text, primary_key=True),
    sa.Column("model_id", sa.Text, primary_key=True),
    sa.Column("step", sa.BigInteger, nullable=False),
)
traces = sa.Table(
    "experiment_traces",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    *(sa.Column(name, sa.Text, nullable=False) for name in ("experiment_id", "state")),
    sa.Column("started_at", sa.BigInteger, nullable=False),
    sa.Column("duration_ms", sa.BigInteger),
    *(sa.Column(name, sa.Text) for name in ("request", "response", "client_id")),
    sa.Column("metadata", JSONB, nullable=False),
    sa.Column("tags", JSONB, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", _AT, nullable=False),
)
spans = sa.Table(
    "trace_spans",
    metadata,
    *(sa.Column(name, sa.Text, primary_key=True) for name in ("org_id", "trace_id", "id")),
    *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("started_ns", "size")),
    sa.Column("document", sa.Text, nullable=False),
)
assessments = sa.Table(
    "trace_assessments",
    metadata,
    *(sa.Column(name, sa.Text, primary_key=True) for name in ("org_id", "id")),
    *(sa.Column(name, sa.Text, nullable=False) for name in ("trace_id", "kind", "name")),
    *(sa.Column(name, JSONB, nullable=False) for name in ("value", "source", "metadata")),
    *(sa.Column(name, sa.Text) for name in ("rationale", "span_id", "overrides")),
    sa.Column("valid", sa.Boolean, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    *(sa.Column(name, _AT, nullable=False) for name in ("created_at", "updated_at")),
)
artifacts = sa.Table(
    "experiment_artifacts",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("artifact_id", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
)
