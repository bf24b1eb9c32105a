"""Organisations, credentials, repositories, sandboxes, the git journal, the ledger; row-level security on all of it."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    for part in (
        "tenancy",
        "tables",
        "projects",
        "teams",
        "oauth",
        "ledger",
        "checkpoints",
        "audit",
        "policies",
        "moves",
        "operations",
        "notices",
        "usage",
        "vault",
        "artifacts",
        "runs",
        "pipelines",
        "prompts",
        "evals",
        "experiments",
        "traces",
        "triggers",
        "run_events",
        "stream",
        "compute",
        "nodes",
        "effects",
        "checks",
        "deployments",
        "agents",
        "gateway",
        "memory",
        "sessions",
        "lineage",
        "datasets",
        "models",
        "endpoints",
        "apps",
    ):
        sql = Path(__file__).with_name(f"0001_{part}.sql").read_text()
        op.get_bind().connection.driver_connection.execute(sql)
