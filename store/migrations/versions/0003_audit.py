"""The audit log of calls, who made a key, and why one was revoked."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make them."""
    op.add_column("api_keys", sa.Column("revoked_reason", sa.String(500)))
    op.add_column("api_keys", sa.Column("created_by", sa.String(32)))
    op.create_table(
        "audit",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("org_id", sa.String(32), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("key_id", sa.String(32), nullable=False),
        sa.Column("key_name", sa.String(200), nullable=False),
        sa.Column("method", sa.String(16), nullable=False),
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("path", sa.String(1000), nullable=False),
        sa.Column("parameters", sa.Text, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("duration_ms", sa.Integer, nullable=False),
        sa.Column("client_ip", sa.String(64)),
        sa.Column("correlation_id", sa.String(128), nullable=False),
        sa.ForeignKeyConstraint(
            ["org_id"], ["organisations.id"], name="fk_audit_org_id_organisations"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    for columns in (["org_id", "at"], ["org_id", "key_id", "at"], ["at"]):
        op.create_index(f"ix_audit_{'_'.join(columns)}", "audit", columns)
