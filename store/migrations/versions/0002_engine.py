"""Places that runs give back, runs that start runs, schedules, templates, agents and secrets."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make them."""
    _runs()
    op.add_column("step_runs", sa.Column("usage", sa.Text))
    op.add_column("step_runs", sa.Column("item_count", sa.Integer))
    _schedules()
    op.create_table(
        "templates",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("org_id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("category", sa.String(64), nullable=False),
        sa.Column("definition", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        _organisation("templates"),
        sa.PrimaryKeyConstraint("id", name="pk_templates"),
    )
    op.create_index("ix_templates_org_id_created_at", "templates", ["org_id", "created_at"])
    op.create_table(
        "agents",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("org_id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        _organisation("agents"),
        sa.PrimaryKeyConstraint("id", name="pk_agents"),
        sa.UniqueConstraint("org_id", "name", name="uq_agents_org_id_name"),
    )
    op.create_table(
        "secrets",
        sa.Column("org_id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary, nullable=False),
        sa.Column("key_id", sa.String(16), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        _organisation("secrets"),
        sa.PrimaryKeyConstraint("org_id", "name", name="pk_secrets"),
    )


def _organisation(table: str) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_org_id_organisations"
    return sa.ForeignKeyConstraint(["org_id"], ["organisations.id"], name=name)


def _runs() -> None:
    for column in (
        sa.Column("parked", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("parkings", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("parent_run_id", sa.String(32)),
        sa.Column("parent_step_id", sa.String(64)),
        sa.Column("parent_iteration", sa.String(64)),
        sa.Column("awaited", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("depth", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("schedule_id", sa.String(32)),
        sa.Column("scheduled_at", sa.BigInteger),
    ):
        op.add_column("runs", column)
    for key, columns in (
        ("parent_run_id", ["parent_run_id"]),
        ("schedule_id", ["schedule_id", "created_at"]),
    ):
        some = sa.text(f"{key} IS NOT NULL")
        op.create_index(
            f"ix_runs_{'_'.join(columns)}",
            "runs",
            columns,
            sqlite_where=some,
            postgresql_where=some,
        )
    asked = sa.text("intent IS NOT NULL")
    op.create_index(
        "ix_runs_with_intent",
        "runs",
        ["updated_at"],
        sqlite_where=asked,
        postgresql_where=asked,
    )


def _schedules() -> None:
    op.create_table(
        "schedules",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("org_id", sa.String(32), nullable=False),
        sa.Column("workflow_id", sa.String(32), nullable=False),
        sa.Column("cron_expression", sa.String(255)),
        sa.Column("run_at", sa.BigInteger),
        sa.Column("timezone", sa.String(64), nullable=False),
        sa.Column("input", sa.Text, nullable=False),
        sa.Column("overlap", sa.String(16), nullable=False),
        sa.Column("catchup_window", sa.Integer, nullable=False),
        sa.Column("paused", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("note", sa.Text),
        sa.Column("revision", sa.Integer, nullable=False, server_default=sa.text("1")),
        sa.Column("synced", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("deleted_at", sa.BigInteger),
        _organisation("schedules"),
        sa.ForeignKeyConstraint(
            ["workflow_id"], ["workflows.id"], name="fk_schedules_workflow_id_workflows"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_schedules"),
    )
    columns = ["workflow_id", "created_at"]
    op.create_index("ix_schedules_workflow_id_created_at", "schedules", columns)
