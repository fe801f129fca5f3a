"""Batches that take up what has failed in an earlier one."""

from sqlalchemy import select

from engine.lifecycle import TERMINAL
from store.batch_tables import batches
from store.database import Tx
from store.runs import RunRow
from store.tables import runs


def unfinished(tx: Tx, run: RunRow) -> str | None:
    """The id of a batch that retries this run and is not over; None when there is none."""
    return tx.execute(
        select(batches.c.run_id)
        .join(runs, runs.c.id == batches.c.run_id)
        .where(
            runs.c.workflow_id == run.workflow_id,
            runs.c.created_at >= run.created_at,
            runs.c.status.not_in([*TERMINAL]),
            batches.c.retry_of == run.id,
        )
        .limit(1)
    ).scalar_one_or_none()
