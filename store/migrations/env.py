"""What alembic runs: the revisions, on the connection and in the transaction of `store.migrate`."""

from alembic import context

from store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite cannot alter most of a table: alembic builds a new one in its place.
    render_as_batch=True,
)
context.run_migrations()
