"""Keeps Temporal's schedules in step with the store: a duty of the sweeper.

Each pass tells Temporal of what it has not heard, makes the single starts that it has missed,
compares a few schedules with what Temporal has, in a circle, and now and then looks for schedules
of ours that the store does not know.
"""

import logging
import time
from functools import partial

from app.services.timetable import Timetable
from engine.errors import Invalid
from store import clock, one_offs, schedules
from store.database import Database

log = logging.getLogger("signalbox.upkeep")

#: Microseconds that a change may be on its way to Temporal before it counts as lost.
UNTOLD_FOR = 2_000_000
#: Microseconds after its time that a single start counts as missed by Temporal.
OVERDUE_FOR = 10_000_000
#: Changes told in a pass.
_BATCH = 100
#: Schedules compared in a pass: 6 ms of Temporal's each.
_COMPARED = 4
#: Seconds between two looks for schedules that nobody knows, and how many one look takes in.
STRAYS_EVERY = 30.0
_STRAYS = 200


class Upkeep:
    """The upkeep of this deployment's schedules."""

    def __init__(self, database: Database, timetable: Timetable) -> None:
        self._database = database
        self._timetable = timetable
        self._compared = ""
        self._page: bytes | None = None
        self._looked = float("-inf")

    async def sweep(self) -> None:
        """One pass.

        Raises:
            Unavailable: the database or Temporal does not answer.
        """
        for schedule_id in await self._database.read(
            partial(schedules.out_of_step, before=clock.now() - UNTOLD_FOR, limit=_BATCH)
        ):
            await self._tell(schedule_id)
        for row in await self._database.read(
            partial(one_offs.overdue, before=clock.now() - OVERDUE_FOR, limit=_BATCH)
        ):
            await self._timetable.start(row)
        await self._compare()
        if time.monotonic() - self._looked >= STRAYS_EVERY:
            await self._remove_strays()
            self._looked = time.monotonic()

    async def _tell(self, schedule_id: str) -> None:
        try:
            await self._timetable.tell(schedule_id)
        except Invalid as error:
            log.error("schedule %s: %s", schedule_id, error.message)

    async def _compare(self) -> None:
        rows = await self._database.read(
            partial(schedules.in_step_after, after=self._compared, limit=_COMPARED)
        )
        self._compared = rows[-1].id if len(rows) == _COMPARED else ""
        for row in rows:
            if not await self._timetable.is_as_told(row):
                log.warning("schedule %s was not as it should be in Temporal", row.id)
                await self._tell(row.id)

    async def _remove_strays(self) -> None:
        """Delete what Temporal lists as ours and the store, asked after that, does not know."""
        listed, self._page = await self._timetable.ours(self._page, _STRAYS)
        known = await self._database.read(partial(schedules.known, ids=listed))
        for schedule_id in listed:
            if schedule_id not in known:
                log.warning("schedule %s is unknown here and goes", schedule_id)
                await self._timetable.forget(schedule_id)
