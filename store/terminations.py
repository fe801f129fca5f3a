"""What ends runs for good: terminating one, and deleting one that is over.

Terminating closes the row at once, whatever Temporal and the workers do; that Temporal's execution
has to end as well stays in the row as an intent until Temporal has heard it.
"""

from sqlalchemy import delete as delete_from
from sqlalchemy import update

from engine.errors import Conflict
from engine.lifecycle import TERMINAL, Intent, RunStatus
from store import runs as run_rows
from store.clock import now
from store.database import Tx
from store.executions import cancel, close_execution, locked
from store.places import Execution
from store.runs import RunRow
from store.tables import runs


def terminate(tx: Tx, org_id: str, run_id: str, limit: int) -> tuple[RunRow, list[Execution]]:
    """End a run now: it reads cancelled, and so do its steps that were open.

    The run, and the executions that got its place and have to be told.

    Raises:
        NotFound: there is no such run in the organisation.
        Conflict: the run has completed or failed.
    """
    row = locked(tx, org_id, run_id)
    if row.status is RunStatus.CANCELLED:
        return row, []
    if row.status in TERMINAL:
        raise Conflict(f"It has {row.status} and cannot be terminated.")
    handed: list[Execution] = []
    if row.status is RunStatus.PAUSED:
        cancel(tx, org_id, run_id)
    else:
        handed = close_execution(tx, run_id, row.n, RunStatus.CANCELLED, limit)
    asked = {"intent": Intent.TERMINATE, "updated_at": now()}
    tx.execute(update(runs).where(runs.c.id == run_id).values(asked))
    return run_rows.get(tx, org_id, run_id), handed


def terminated(tx: Tx, run_id: str, n: int) -> None:
    """Note that Temporal has no open execution of this number any more."""
    tx.execute(
        update(runs)
        .where(runs.c.id == run_id, runs.c.n == n, runs.c.intent == Intent.TERMINATE)
        .values(intent=None)
    )


def delete(tx: Tx, org_id: str, run_id: str) -> None:
    """Delete a run with its steps, events and values; what its key was answered stays remembered.

    Raises:
        NotFound: there is no such run in the organisation.
        Conflict: the run is not over, or is still being terminated.
    """
    row = locked(tx, org_id, run_id)
    if row.status not in TERMINAL:
        raise Conflict(f"It is {row.status}; only what is over can be deleted.")
    if row.intent is Intent.TERMINATE:
        raise Conflict("It is still being terminated; try again.")
    # What refers to the run goes with it.
    tx.execute(delete_from(runs).where(runs.c.id == run_id))
