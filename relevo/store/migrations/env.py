"""Alembic's entry; the connection is handed in by :func:`relevo.store.schema.prepare`."""

from alembic import context

from relevo.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
