"""Runs the numbered migrations on the connection that `builderos.core.migrations` hands over."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table="schema_version", version_table_schema="priv")
with context.begin_transaction():
    context.run_migrations()
