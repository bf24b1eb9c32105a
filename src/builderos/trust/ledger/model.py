"""Table of the ledger as the server may see it: it can read; writing goes through `ops.ledger_append`."""

import sqlalchemy as sa

from builderos.core.tables import metadata

ledger = sa.Table(
    "ledger",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("prev_hash", sa.LargeBinary, nullable=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("object", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("branch", sa.Text),
    sa.Column("code", sa.Text),
)
ledger_head = sa.Table(
    "ledger_head",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    sa.Column("prev_hash", sa.LargeBinary, nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("lag", sa.Interval, nullable=False),
)
ledger_terms = sa.Table(
    "ledger_terms",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("term", sa.LargeBinary, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True),
)
ledger_nodes = sa.Table(
    "ledger_nodes",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("level", sa.SmallInteger, primary_key=True),
    sa.Column("index", sa.BigInteger, primary_key=True),
    sa.Column("hash", sa.LargeBinary, nullable=False),
)
checkpoints = sa.Table(
    "checkpoints",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("size", sa.BigInteger, primary_key=True),
    sa.Column("root", sa.LargeBinary, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
)
ledger_words = sa.Table(
    "ledger_words",
    metadata,
    sa.Column("org_id", sa.Text, primary_key=True),
    sa.Column("commitment", sa.LargeBinary, primary_key=True),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("salt", sa.LargeBinary, nullable=False),
    sa.Column("words", sa.Text, nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
)
