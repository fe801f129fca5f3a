"""Whose turn it is with a workflow: those who start runs of it share it, an author has it alone.

Row locks alone would let an author wait for ever: PostgreSQL gives a shared lock to whoever comes
while others have one, so imports that start runs in one transaction after the other leave no gap.
Advisory locks are a line: who comes after the author waits behind it. SQLite has one writer at a
time anyway.
"""

from sqlalchemy import text

from store.database import Tx

_SHARE = text("SELECT pg_advisory_xact_lock_shared(hashtextextended(:workflow, 0))")
_ALONE = text("SELECT pg_advisory_xact_lock(hashtextextended(:workflow, 0))")


def share(tx: Tx, workflow_id: str) -> None:
    """Wait for the authors who came first; until the transaction ends, others wait for this."""
    if tx.dialect.name == "postgresql":
        tx.execute(_SHARE, {"workflow": workflow_id})


def alone(tx: Tx, workflow_id: str) -> None:
    """Wait for all who came first; until the transaction ends, everybody waits for this."""
    if tx.dialect.name == "postgresql":
        tx.execute(_ALONE, {"workflow": workflow_id})
