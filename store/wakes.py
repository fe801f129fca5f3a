"""Executions that are to be told that the event has come which a step of theirs waits for.

They are told after the commit that `store.waits` has made, and by the sweeper if that was lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select, update

from engine.book import Wake
from engine.lifecycle import RunStatus
from store.clock import now
from store.database import Tx
from store.record_tables import event_waits
from store.tables import runs
from store.waits import OWN


@dataclass(frozen=True)
class Asleep:
    """A wait that is over, and the execution to tell; None when none is carrying the run out."""

    run_id: str
    step_id: str
    iteration: str
    temporal_id: str | None

    @property
    def wake(self) -> Wake:
        """What the execution is told."""
        indices = [int(index) for index in self.iteration.split(".") if index]
        return Wake(step=self.step_id, iteration=indices)


def unwoken(tx: Tx, before: int, limit: int) -> list[Asleep]:
    """Waits that were over before this time, whose executions may not know of it."""
    rows = tx.execute(
        select(
            event_waits.c.run_id,
            event_waits.c.step_id,
            event_waits.c.iteration,
            runs.c.temporal_id,
            runs.c.status,
        )
        .join(runs, runs.c.id == event_waits.c.run_id)
        .where(
            event_waits.c.event_id.is_not(None),
            event_waits.c.woken_at.is_(None),
            event_waits.c.matched_at < before,
        )
        .order_by(event_waits.c.matched_at)
        .limit(limit)
    )
    return [
        # One that is not carried out just now will ask when it is.
        Asleep(*row[:3], row.temporal_id if row.status == RunStatus.RUNNING else None)
        for row in rows
    ]


def woken(tx: Tx, told: Sequence[Asleep]) -> None:
    """Note that these need not be told again."""
    if told:
        tx.execute(
            update(event_waits).where(OWN).values(woken_at=now()),
            [{"run": one.run_id, "step": one.step_id, "place": one.iteration} for one in told],
        )
