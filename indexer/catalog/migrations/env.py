"""Run by Alembic; takes the connection that ``database.py`` hands it."""

from __future__ import annotations

from alembic import context

from indexer.catalog.tables import schema

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=schema,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
