"""Starts at one time in the future: made by the name of their workflow, read, canceled.

As with `app.services.schedules`, a change is one transaction and Temporal is told after it; while
it is away, the change stands and the sweeper tells it later.
"""

import logging
from collections.abc import Callable
from typing import Any

from app.services.auth import Caller
from app.services.named_runs import enabled, require_possible
from app.services.once import Answered, Once, keep, recall
from app.services.schedules import BY_HAND
from app.services.timetable import Timetable
from engine.errors import Invalid, Unavailable
from store import clock, latest, one_offs
from store.database import Database, Tx
from store.one_offs import OneOff

log = logging.getLogger("signalbox.schedules")


class OneOffs:
    """The starts in the future of every organisation, each through its callers."""

    def __init__(self, database: Database, timetable: Timetable) -> None:
        self._database = database
        self._timetable = timetable

    async def create(
        self,
        caller: Caller,
        name: str,
        run_at: int,
        wanted: dict[str, Any],
        once: Once | None,
        answer: Callable[[OneOff], Answered],
    ) -> Answered:
        """Keep a start of the workflow of this name.

        Args:
            caller: whose workflow it is.
            name: the exact name of the workflow.
            run_at: microseconds UTC, a whole second.
            wanted: the input, of which nothing is asked.
            once: when given, the same key within 24 h gets the first answer again.
            answer: makes the answer, which is kept in the same transaction as the start.

        Raises:
            NotFound: there is no such workflow.
            Conflict: it is not active (`workflow_archived`, `workflow_disabled`).
            Invalid: the time is not in the future (`scheduled_for_in_past`), or the workflow is for
                entities (`workflow_not_direct_runnable`).
        """
        require_possible(name)

        def work(tx: Tx) -> Answered:
            if earlier := recall(tx, caller.org_id, once):
                return earlier
            workflow = enabled(tx, caller.org_id, name, archived="workflow_archived")
            if latest.entity_type(tx, workflow):
                raise Invalid(BY_HAND, code="workflow_not_direct_runnable")
            if run_at <= clock.now():
                message = "scheduled_for must be in the future."
                raise Invalid(message, code="scheduled_for_in_past")
            row = one_offs.create(tx, caller.org_id, workflow.id, run_at, wanted)
            answered = answer(row)
            keep(tx, caller.org_id, once, answered)
            return answered

        answered = await self._database.write(work)
        if not answered.replayed:
            await self._tell(answered.made)
        return answered

    async def get(self, caller: Caller, schedule_id: str) -> OneOff:
        """The start.

        Raises:
            NotFound: there is none of this id in the caller's organisation.
        """
        return await self._database.read(lambda tx: one_offs.get(tx, caller.org_id, schedule_id))

    async def cancel(self, caller: Caller, schedule_id: str) -> OneOff:
        """Give the start up.

        Raises:
            NotFound: there is no such start.
            Conflict: it has fired.
        """
        row = await self._database.write(lambda tx: one_offs.cancel(tx, caller.org_id, schedule_id))
        await self._tell(row.id)
        return row

    async def _tell(self, schedule_id: str) -> None:
        try:
            await self._timetable.tell(schedule_id)
        except (Unavailable, Invalid) as error:
            # Also without Temporal's schedule it is started: the sweeper looks for what is overdue.
            log.warning("Temporal hears of schedule %s later: %s", schedule_id, error.message)
