"""What happens to all live runs of a workflow at once, when it is paused or deleted.

Runs that work come first: they are only asked. Then those that have a place and have not begun,
since whoever frees a place locks the organisation's row, and then the rest: so nobody waits for
that row while holding runs that a place may be given to, as `store.places` asks.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress

from sqlalchemy import bindparam, case, select

from engine.errors import Conflict
from engine.lifecycle import RunStatus
from store import executions
from store.database import Tx
from store.runs import RunRow
from store.tables import runs

_OF_WORKFLOW = (
    select(runs.c.id)
    .where(
        runs.c.workflow_id == bindparam("workflow"),
        runs.c.org_id == bindparam("org"),
        runs.c.status.in_(bindparam("statuses", expanding=True)),
    )
    .order_by(
        case((runs.c.status == RunStatus.RUNNING, 0), else_=1),
        runs.c.admitted.desc(),
        runs.c.queued_at,
        runs.c.id,
    )
)


def cancel_all(tx: Tx, org_id: str, workflow_id: str) -> list[RunRow]:
    """Cancel every run of the workflow that is not over; the runs, as Temporal has to learn it."""
    statuses = [RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.PAUSED]
    return _each(tx, org_id, workflow_id, statuses, executions.cancel)


def pause_all(tx: Tx, org_id: str, workflow_id: str) -> list[RunRow]:
    """Pause every run of the workflow that is under way and is not being cancelled."""
    statuses = [RunStatus.QUEUED, RunStatus.RUNNING]
    return _each(tx, org_id, workflow_id, statuses, executions.pause)


def _each(
    tx: Tx,
    org_id: str,
    workflow_id: str,
    statuses: Sequence[RunStatus],
    verb: Callable[[Tx, str, str], RunRow],
) -> list[RunRow]:
    wanted = {"workflow": workflow_id, "org": org_id, "statuses": statuses}
    done = []
    for run_id in tx.execute(_OF_WORKFLOW, wanted).scalars().all():
        # It has come to its end meanwhile.
        with suppress(Conflict):
            done.append(verb(tx, org_id, run_id))
    return done
