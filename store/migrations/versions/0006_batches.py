"""Batches: runs with a lane for each entity; and where content is published."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make room for them."""
    op.add_column("runs", sa.Column("lanes", sa.Integer))
    op.add_column("entities", sa.Column("published_at", sa.BigInteger))
    _listing()
    _batches()
    _lanes()
    _buckets()


def _listing() -> None:
    op.drop_index("ix_entities_org_id_type_id_created_at", "entities")
    op.create_index(
        "ix_entities_listed",
        "entities",
        ["org_id", "type_id", "created_at", "id", "archived_at"],
    )


def _batches() -> None:
    op.create_table(
        "batches",
        sa.Column("run_id", sa.String(32), nullable=False),
        sa.Column("type_id", sa.String(32), nullable=False),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("completed", sa.Integer, server_default=sa.text("0"), nullable=False),
        sa.Column("failed", sa.Integer, server_default=sa.text("0"), nullable=False),
        sa.Column("steps", sa.Text, server_default=sa.text("'{}'"), nullable=False),
        sa.Column("usage", sa.Text),
        sa.Column("window_size", sa.Integer, nullable=False),
        sa.Column("concurrency", sa.Integer, nullable=False),
        sa.Column("max_failures", sa.Integer),
        sa.Column("on_budget", sa.String(16), nullable=False),
        sa.Column("retry_of", sa.String(32)),
        sa.Column("began_at", sa.BigInteger),
        sa.Column("began_done", sa.Integer, server_default=sa.text("0"), nullable=False),
        sa.Column("began_failed", sa.Integer, server_default=sa.text("0"), nullable=False),
        sa.Column("halted", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("told_at", sa.BigInteger),
        sa.Column("told_done", sa.Integer, server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name="fk_batches_run_id_runs", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", name="pk_batches"),
    )


def _lanes() -> None:
    op.create_table(
        "lanes",
        sa.Column("run_id", sa.String(32), nullable=False),
        sa.Column("lane", sa.Integer, nullable=False),
        sa.Column("entity_id", sa.String(32), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("facts", sa.Text),
        sa.Column("outputs", sa.Text),
        sa.Column("step_id", sa.String(64)),
        sa.Column("attempts", sa.Integer, server_default=sa.text("0"), nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("notes", sa.Text),
        sa.Column("output", sa.Text),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("completed_at", sa.BigInteger),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name="fk_lanes_run_id_runs", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "lane", name="pk_lanes"),
    )
    op.create_index("ix_lanes_run_id_status_lane", "lanes", ["run_id", "status", "lane"])


def _buckets() -> None:
    op.create_table(
        "buckets",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("org_id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(
            ["org_id"], ["organisations.id"], name="fk_buckets_org_id_organisations"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_buckets"),
        sa.UniqueConstraint("org_id", "name", name="uq_buckets_org_id_name"),
    )
