"""Tables of what models were asked for: a row per request, budgets, and how far each of them is used."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from builderos.core.tables import metadata


def _text(name: str, *, null: bool = False) -> "sa.Column[str]":
    return sa.Column(name, sa.Text, nullable=null)


def _count(name: str) -> "sa.Column[int]":
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def _time(name: str, *, null: bool = False) -> "sa.Column[object]":
    return sa.Column(name, sa.DateTime(timezone=True), nullable=null)


ai_usage = sa.Table(
    "ai_usage",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    *(_text(name) for name in ("org_id", "kind", "door", "request_id", "actor")),
    *(
        _text(name, null=True)
        for name in ("credential_id", "opened_by", "run_id", "step_id", "agent", "prompt", "repo_id")
    ),
    *(_text(name) for name in ("asked", "provider", "model", "label", "state", "code")),
    sa.Column("estimated", sa.Boolean, nullable=False, server_default=sa.false()),
    *(_count(name) for name in ("held_tokens", "held_cost")),
    *(_count(name) for name in ("input_tokens", "cached_tokens", "output_tokens", "cost")),
    sa.Column("attempts", sa.SmallInteger, nullable=False, server_default="0"),
    sa.Column("budgets", ARRAY(sa.Text), nullable=False, server_default="{}"),
    _time("reserved_at"),
    _time("expires_at"),
    _time("settled_at", null=True),
    sa.Column("first_ms", sa.Integer),
    sa.Column("total_ms", sa.Integer),
)
ai_budgets = sa.Table(
    "ai_budgets",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("period", sa.Text, primary_key=True),
    sa.Column("meter", sa.Text, primary_key=True),
    _count("amount"),
    _text("set_by"),
    _time("set_at"),
)
ai_counters = sa.Table(
    "ai_counters",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("period", sa.Text, primary_key=True),
    sa.Column("since", sa.Date, primary_key=True),
    *(_count(name) for name in ("tokens", "cost", "held_tokens", "held_cost")),
)
