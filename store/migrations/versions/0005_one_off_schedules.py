"""Starts at one time in the future: what became of each."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_PENDING = "run_at IS NOT NULL AND fired_at IS NULL AND canceled_at IS NULL"


def upgrade() -> None:
    """Make room for it."""
    op.add_column("schedules", sa.Column("fired_at", sa.BigInteger))
    op.add_column("schedules", sa.Column("canceled_at", sa.BigInteger))
    op.add_column("schedules", sa.Column("cancel_reason", sa.String(64)))
    op.create_index(
        "ix_schedules_pending",
        "schedules",
        ["run_at"],
        sqlite_where=sa.text(_PENDING),
        postgresql_where=sa.text(_PENDING),
    )
