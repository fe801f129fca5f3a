"""Every table of the database: what migrations lead to."""

from store import batch_tables, record_tables

#: Shared with `store.tables`, which the other two stand on.
metadata = record_tables.entities.metadata
assert batch_tables.lanes.metadata is metadata
