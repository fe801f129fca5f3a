"""Records, what happens to them, and what waits for it."""

import sqlalchemy as sa
from alembic import op

from store.clock import now
from store.ids import derived_id

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make them."""
    _entities()
    _events()
    _assessments()
    _runs()
    _workflows()
    _builtin_types()


def _entities() -> None:
    op.create_table(
        "entity_types",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("org_id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("plural_name", sa.String(100), nullable=False),
        sa.Column("slug", sa.String(100), nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("icon", sa.String(64)),
        sa.Column("fields", sa.Text, nullable=False),
        sa.Column("builtin", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(
            ["org_id"], ["organisations.id"], name="fk_entity_types_org_id_organisations"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_entity_types"),
        sa.UniqueConstraint("org_id", "name", name="uq_entity_types_org_id_name"),
        sa.UniqueConstraint("org_id", "slug", name="uq_entity_types_org_id_slug"),
    )
    op.create_table(
        "entities",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("org_id", sa.String(32), nullable=False),
        sa.Column("type_id", sa.String(32), nullable=False),
        sa.Column("fields", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("archived_at", sa.BigInteger),
        sa.ForeignKeyConstraint(
            ["org_id"], ["organisations.id"], name="fk_entities_org_id_organisations"
        ),
        sa.ForeignKeyConstraint(
            ["type_id"], ["entity_types.id"], name="fk_entities_type_id_entity_types"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_entities"),
    )
    op.create_index(
        "ix_entities_archived_at",
        "entities",
        ["archived_at"],
        sqlite_where=sa.text("archived_at IS NOT NULL"),
        postgresql_where=sa.text("archived_at IS NOT NULL"),
    )
    op.create_index(
        "ix_entities_org_id_type_id_created_at", "entities", ["org_id", "type_id", "created_at"]
    )


def _events() -> None:
    op.create_table(
        "published_events",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("org_id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("entity_id", sa.String(32)),
        sa.Column("entity_type", sa.String(100)),
        sa.Column("entity_fields", sa.Text),
        sa.Column("depth", sa.Integer, server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(
            ["org_id"], ["organisations.id"], name="fk_published_events_org_id_organisations"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_published_events"),
    )
    op.create_index("ix_published_events_created_at", "published_events", ["created_at"])
    op.create_index(
        "ix_published_events_org_id_name_created_at",
        "published_events",
        ["org_id", "name", "created_at"],
    )
    op.create_table(
        "trigger_failures",
        sa.Column("workflow_id", sa.String(32), nullable=False),
        sa.Column("event_id", sa.String(32), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(
            ["workflow_id"], ["workflows.id"], name="fk_trigger_failures_workflow_id_workflows"
        ),
        sa.PrimaryKeyConstraint("workflow_id", name="pk_trigger_failures"),
    )
    op.create_table(
        "event_waits",
        sa.Column("run_id", sa.String(32), nullable=False),
        sa.Column("step_id", sa.String(64), nullable=False),
        sa.Column("iteration", sa.String(64), nullable=False),
        sa.Column("org_id", sa.String(32), nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("event", sa.String(200), nullable=False),
        sa.Column("match", sa.Text),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("pin", sa.String(32), server_default=sa.text("''"), nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("event_id", sa.String(32)),
        sa.Column("matched_at", sa.BigInteger),
        sa.Column("woken_at", sa.BigInteger),
        sa.ForeignKeyConstraint(
            ["org_id"], ["organisations.id"], name="fk_event_waits_org_id_organisations"
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name="fk_event_waits_run_id_runs", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "step_id", "iteration", name="pk_event_waits"),
    )
    op.create_index(
        "ix_event_waits_open",
        "event_waits",
        ["org_id", "event", "pin"],
        sqlite_where=sa.text("event_id IS NULL"),
        postgresql_where=sa.text("event_id IS NULL"),
    )
    op.create_index(
        "ix_event_waits_unwoken",
        "event_waits",
        ["matched_at"],
        sqlite_where=sa.text("event_id IS NOT NULL AND woken_at IS NULL"),
        postgresql_where=sa.text("event_id IS NOT NULL AND woken_at IS NULL"),
    )
    op.create_index(
        "ix_event_waits_event_id",
        "event_waits",
        ["event_id"],
        sqlite_where=sa.text("event_id IS NOT NULL"),
        postgresql_where=sa.text("event_id IS NOT NULL"),
    )


def _assessments() -> None:
    op.create_table(
        "assessments",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("org_id", sa.String(32), nullable=False),
        sa.Column("vendor_id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("status", sa.String(64), nullable=False),
        sa.Column("control_set_ids", sa.Text, nullable=False),
        sa.Column("service_ids", sa.Text, nullable=False),
        sa.Column("supporting_document_ids", sa.Text, nullable=False),
        sa.Column("assignee_id", sa.String(64)),
        sa.Column("run_id", sa.String(32)),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("archived_at", sa.BigInteger),
        sa.ForeignKeyConstraint(
            ["org_id"], ["organisations.id"], name="fk_assessments_org_id_organisations"
        ),
        sa.ForeignKeyConstraint(
            ["vendor_id"], ["entities.id"], name="fk_assessments_vendor_id_entities"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_assessments"),
    )
    op.create_index("ix_assessments_org_id_created_at", "assessments", ["org_id", "created_at"])
    op.create_index("ix_assessments_vendor_id", "assessments", ["vendor_id"])


def _runs() -> None:
    op.add_column("step_runs", sa.Column("artifacts", sa.Text))
    op.add_column("runs", sa.Column("event_id", sa.String(32)))
    op.create_index(
        "ix_runs_event_id",
        "runs",
        ["event_id"],
        sqlite_where=sa.text("event_id IS NOT NULL"),
        postgresql_where=sa.text("event_id IS NOT NULL"),
    )


def _workflows() -> None:
    op.add_column("workflows", sa.Column("trigger_event", sa.String(200)))
    op.add_column("workflows", sa.Column("trigger_conditions", sa.Text))
    op.create_index(
        "ix_workflows_org_id_trigger_event",
        "workflows",
        ["org_id", "trigger_event"],
        sqlite_where=sa.text("trigger_event IS NOT NULL"),
        postgresql_where=sa.text("trigger_event IS NOT NULL"),
    )


def _builtin_types() -> None:
    """The organisations that are there get what a new one is made with."""
    connection, at = op.get_bind(), now()
    add = sa.text(
        "INSERT INTO entity_types (id, org_id, name, plural_name, slug, fields, builtin,"
        " created_at, updated_at) VALUES (:id, :org, :name, :plural, :slug, '[]', true, :at, :at)"
    )
    for (org_id,) in connection.execute(sa.text("SELECT id FROM organisations")).all():
        for name in ("Vendor", "Service"):
            connection.execute(
                add,
                {
                    "id": derived_id(org_id, f"{org_id}/{name}"),
                    "org": org_id,
                    "name": name,
                    "plural": f"{name}s",
                    "slug": f"{name.lower()}s",
                    "at": at,
                },
            )
