"""The tables of records and events: what workflows are about, and what happens to it.

Same rules as in `store.tables`, whose metadata they share. Source: DESIGN §2 and §8.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from store.tables import metadata

entity_types = Table(
    "entity_types",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("org_id", String(32), ForeignKey("organisations.id"), nullable=False),
    #: What events are named after, as in `Vendor.Created`.
    Column("name", String(100), nullable=False),
    Column("plural_name", String(100), nullable=False),
    Column("slug", String(100), nullable=False),
    Column("description", Text),
    Column("icon", String(64)),
    #: A list of `{"name", "type", …}`; a builtin type takes any fields.
    Column("fields", Text, nullable=False),
    Column("builtin", Boolean, nullable=False, server_default=false()),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    UniqueConstraint("org_id", "name"),
    UniqueConstraint("org_id", "slug"),
)

entities = Table(
    "entities",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("org_id", String(32), ForeignKey("organisations.id"), nullable=False),
    Column("type_id", String(32), ForeignKey("entity_types.id"), nullable=False),
    Column("fields", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    #: Deleted, and restorable for 30 days.
    Column("archived_at", BigInteger),
    #: When a `publish` step has last handed it to somebody.
    Column("published_at", BigInteger),
    #: Finds and counts the records of a type, in their order, without looking at one of them.
    Index("ix_entities_listed", "org_id", "type_id", "created_at", "id", "archived_at"),
    Index(
        None,
        "archived_at",
        sqlite_where=text("archived_at IS NOT NULL"),
        postgresql_where=text("archived_at IS NOT NULL"),
    ),
)

#: What happened, in an entity's life or outside. Not the log of a run, which is `run_events`.
published_events = Table(
    "published_events",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("org_id", String(32), ForeignKey("organisations.id"), nullable=False),
    Column("name", String(200), nullable=False),
    Column("data", Text, nullable=False),
    #: The entity that it is about, as it was then.
    Column("entity_id", String(32)),
    Column("entity_type", String(100)),
    Column("entity_fields", Text),
    #: How many runs and events led to it.
    Column("depth", Integer, nullable=False, server_default=text("0")),
    Column("created_at", BigInteger, nullable=False),
    Index(None, "org_id", "name", "created_at"),
    Index(None, "created_at"),
)

#: The last event, of a minute at least, that should have started a workflow and could not.
trigger_failures = Table(
    "trigger_failures",
    metadata,
    Column("workflow_id", String(32), ForeignKey("workflows.id"), primary_key=True),
    Column("event_id", String(32), nullable=False),
    Column("message", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)

#: Steps that wait for an event. The one that matched is written with the event itself.
event_waits = Table(
    "event_waits",
    metadata,
    Column("run_id", String(32), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("step_id", String(64), primary_key=True),
    Column("iteration", String(64), primary_key=True),
    Column("org_id", String(32), ForeignKey("organisations.id"), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("event", String(200), nullable=False),
    #: A CEL expression, and the values of what it mentions beside `event`.
    Column("match", Text),
    Column("scope", Text, nullable=False),
    #: A digest of what the event has to hold, by which the wait is found; empty when any may do.
    Column("pin", String(32), nullable=False, server_default=text("''")),
    #: Only events since then count.
    Column("since", BigInteger, nullable=False),
    #: The event that it waited for.
    Column("event_id", String(32)),
    Column("matched_at", BigInteger),
    #: The execution was told, or has seen it by itself.
    Column("woken_at", BigInteger),
    Index(
        "ix_event_waits_open",
        "org_id",
        "event",
        "pin",
        sqlite_where=text("event_id IS NULL"),
        postgresql_where=text("event_id IS NULL"),
    ),
    Index(
        "ix_event_waits_unwoken",
        "matched_at",
        sqlite_where=text("event_id IS NOT NULL AND woken_at IS NULL"),
        postgresql_where=text("event_id IS NOT NULL AND woken_at IS NULL"),
    ),
    Index(
        None,
        "event_id",
        sqlite_where=text("event_id IS NOT NULL"),
        postgresql_where=text("event_id IS NOT NULL"),
    ),
)

assessments = Table(
    "assessments",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("org_id", String(32), ForeignKey("organisations.id"), nullable=False),
    Column("vendor_id", String(32), ForeignKey("entities.id"), nullable=False),
    Column("name", String(200), nullable=False),
    Column("status", String(64), nullable=False),
    Column("control_set_ids", Text, nullable=False),
    Column("service_ids", Text, nullable=False),
    Column("supporting_document_ids", Text, nullable=False),
    Column("assignee_id", String(64)),
    #: The run that was started with it.
    Column("run_id", String(32)),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("archived_at", BigInteger),
    Index(None, "org_id", "created_at"),
    Index(None, "vendor_id"),
)
