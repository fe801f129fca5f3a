"""Every table of the database: what migrations lead to."""

from store import record_tables

#: Shared with `store.tables`, which `record_tables` stands on.
metadata = record_tables.entities.metadata
