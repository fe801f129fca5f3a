"""What happens to all live runs of a workflow at once, when it is paused or deleted.

The organisation is locked first, as `store.places` says, then the runs, one after the other in the
order in which places are given. Places that are freed here are handed on by whoever does that next,
at the latest by the sweeper. Whoever comes here has locked the workflow, so no run is added.
"""

from collections.abc import Callable
from contextlib import suppress

from sqlalchemy import bindparam, or_, select, update

from engine.errors import Conflict
from engine.lifecycle import RunStatus
from store import executions, places
from store.database import Tx
from store.runs import RunRow
from store.tables import runs

# Built once: making a statement costs more than carrying it out.
_MINE = (runs.c.workflow_id == bindparam("workflow"), runs.c.org_id == bindparam("org"))
_QUEUED = runs.c.status == RunStatus.QUEUED
_LOCK = (
    select(runs.c.id)
    .where(*_MINE)
    .order_by(runs.c.queued_at, runs.c.id)
    .with_for_update(key_share=True)
)
_LOCK_WORKING = _LOCK.where(
    or_(runs.c.status == RunStatus.RUNNING, _QUEUED & runs.c.admitted.is_(True))
)
_LOCK_QUEUED = _LOCK.where(_QUEUED)
_LOCK_PAUSED = _LOCK.where(runs.c.status == RunStatus.PAUSED)
_FREE = update(runs).where(*_MINE, _QUEUED, runs.c.admitted.is_(True)).values(admitted=False)


def cancel_all(tx: Tx, org_id: str, workflow_id: str) -> list[RunRow]:
    """Cancel every run of the workflow that is not over; the runs, as Temporal has to learn it."""
    places.lock(tx, org_id)
    mine = {"workflow": workflow_id, "org": org_id}
    paused = tx.execute(_LOCK_PAUSED, mine).scalars().all()
    return _each(tx, org_id, [*paused, *_under_way(tx, mine)], executions.cancel)


def pause_all(tx: Tx, org_id: str, workflow_id: str) -> list[RunRow]:
    """Pause every run of the workflow that is under way and is not being cancelled."""
    places.lock(tx, org_id)
    mine = {"workflow": workflow_id, "org": org_id}
    return _each(tx, org_id, _under_way(tx, mine), executions.pause)


def _under_way(tx: Tx, mine: dict[str, str]) -> list[str]:
    """The runs that have or want a place, locked; those that have not begun give it back."""
    found = [
        run_id
        for query in (_LOCK_WORKING, _LOCK_QUEUED)
        for run_id in tx.execute(query, mine).scalars().all()
    ]
    tx.execute(_FREE, mine)
    return list(dict.fromkeys(found))


def _each(
    tx: Tx, org_id: str, run_ids: list[str], verb: Callable[[Tx, str, str], RunRow]
) -> list[RunRow]:
    done = []
    for run_id in run_ids:
        # It is being cancelled and cannot be paused.
        with suppress(Conflict):
            done.append(verb(tx, org_id, run_id))
    return done
