"""Things done to schedules: create, read, list, change, delete, pause, trigger, backfill, preview.

A change is one transaction, and Temporal is told after it; while Temporal is away the change stands
all the same and the sweeper tells it later. What asks something of Temporal at once (a trigger, a
backfill, a preview) needs it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TypeVar

from pydantic import JsonValue

from app.services.auth import Caller
from app.services.once import Answered, Once, keep, recall
from app.services.timetable import MOST_TIMES, NotThere, Timetable
from engine.errors import Conflict, Invalid, Problem, Unavailable
from engine.schedule import Overlap
from engine.schema import check_input
from store import clock, idempotency, latest, schedules, starts, workflows
from store.clock import SECOND
from store.database import Database, Tx
from store.schedules import ScheduleRow, Terms

T = TypeVar("T")

log = logging.getLogger("signalbox.schedules")

#: Why a workflow that is for entities has no schedule.
BY_HAND = "The workflow is for entities, and only a list of them starts it."
#: Starts that one backfill may ask for.
MOST_STARTS = 500
#: The last moment that Temporal knows times of; microseconds.
_END = 4_133_980_799 * SECOND
#: Seconds that a page waits for the next times of its schedules.
_GLANCE = 2.0
#: Schedules that Temporal is told of, or asked about, at the same time.
_AT_ONCE = 10


@dataclass(frozen=True)
class View:
    """A schedule, and when it fires next (microseconds UTC).

    Attributes:
        next_run_at: None while it does not fire, and when Temporal does not say.
    """

    row: ScheduleRow
    next_run_at: int | None


@dataclass(frozen=True)
class Preview:
    """Times of a schedule in microseconds UTC; `more` when there are others in the range."""

    row: ScheduleRow
    times: list[int]
    more: bool


@cache
def zones() -> frozenset[str]:
    """The names of the IANA time zones, as the package `tzdata` has them."""
    return frozenset(files("tzdata").joinpath("zones").read_text().split())


class Schedules:
    """The schedules of every organisation, each through its callers."""

    def __init__(self, database: Database, timetable: Timetable) -> None:
        self._database = database
        self._timetable = timetable

    async def create(
        self,
        caller: Caller,
        workflow_id: str,
        terms: Terms,
        once: Once | None,
        answer: Callable[[ScheduleRow], Answered],
    ) -> Answered:
        """Keep a new schedule of a workflow.

        Args:
            caller: whose workflow it is.
            workflow_id: the workflow.
            terms: valid ones; `engine.schedule` and `zones` say which are.
            once: when given, the same key within 24 h gets the first answer again.
            answer: makes the answer, which is kept in the same transaction as the schedule.

        Raises:
            NotFound: there is no such workflow.
            Conflict: the workflow is for entities.
            Invalid: the input does not fit the workflow's `input_schema`, the key came before with
                another body, or Temporal does not know the zone.
        """
        await self._require_fitting(caller, workflow_id, terms)

        def work(tx: Tx) -> tuple[Answered, ScheduleRow | None]:
            if earlier := recall(tx, caller.org_id, once):
                return earlier, None
            workflow = workflows.hold(tx, caller.org_id, workflow_id)
            if latest.entity_type(tx, workflow):
                raise Conflict(BY_HAND)
            row = schedules.create(tx, caller.org_id, workflow_id, terms)
            answered = answer(row)
            keep(tx, caller.org_id, once, answered)
            return answered, row

        answered, row = await self._database.write(work)
        if row is not None and not await self._tell(row.id):
            await self._database.write(lambda tx: schedules.remove(tx, caller.org_id, row.id))
            await self._tell(row.id)
            raise _unknown_zone()
        return answered

    async def get(self, caller: Caller, schedule_id: str) -> View:
        """The schedule.

        Raises:
            NotFound: there is none of this id in the caller's organisation.
        """
        row = await self._find(caller, schedule_id)
        return (await self._views([row]))[0]

    async def page(
        self, caller: Caller, workflow_id: str, limit: int, offset: int
    ) -> tuple[list[View], int]:
        """Schedules of a workflow, newest first, and how many there are in all.

        Raises:
            NotFound: there is no such workflow in the caller's organisation.
        """
        rows, total = await self._database.read(
            lambda tx: schedules.page(tx, caller.org_id, workflow_id, limit=limit, offset=offset)
        )
        return await self._views(rows), total

    async def replace(self, caller: Caller, schedule_id: str, terms: Terms) -> View:
        """Give the schedule other terms.

        Raises:
            NotFound: there is no such schedule.
            Invalid: the input does not fit the workflow's `input_schema`, or Temporal does not know
                the zone; the terms stay as they were.
        """
        found = await self._find(caller, schedule_id)
        await self._require_fitting(caller, found.workflow_id, terms)

        def work(tx: Tx) -> tuple[Terms, ScheduleRow]:
            before = schedules.get(tx, caller.org_id, schedule_id).terms
            return before, schedules.replace(tx, caller.org_id, schedule_id, terms)

        before, row = await self._database.write(work)
        if not await self._tell(row.id):
            await self._database.write(
                lambda tx: schedules.replace(tx, caller.org_id, schedule_id, before)
            )
            await self._tell(row.id)
            raise _unknown_zone()
        return await self.get(caller, schedule_id)

    async def pause(
        self, caller: Caller, schedule_id: str, *, paused: bool, note: str | None
    ) -> View:
        """Pause the schedule or let it go on.

        Raises:
            NotFound: there is no such schedule.
        """
        await self._database.write(
            lambda tx: schedules.pause(tx, caller.org_id, schedule_id, paused=paused, note=note)
        )
        await self._tell(schedule_id)
        return await self.get(caller, schedule_id)

    async def delete(self, caller: Caller, schedule_id: str) -> None:
        """Delete the schedule; its runs stay.

        Raises:
            NotFound: there is no such schedule.
        """
        await self._database.write(lambda tx: schedules.remove(tx, caller.org_id, schedule_id))
        await self._tell(schedule_id)

    async def sync(self, workflow_id: str) -> None:
        """Tell Temporal of a workflow's schedules after a change that concerns all of them."""
        ids = await self._database.read(
            lambda tx: schedules.out_of_step_of_workflow(tx, workflow_id)
        )
        for start in range(0, len(ids), _AT_ONCE):
            await asyncio.gather(*map(self._tell, ids[start : start + _AT_ONCE]))

    async def trigger(self, caller: Caller, schedule_id: str) -> int:
        """Let the schedule start a run now, paused or not; the time that it counts as due at.

        The overlap policy holds.

        Raises:
            NotFound: there is no such schedule.
            Conflict: its workflow is not active, it was triggered in this second already, or a run
                of it is open and it skips starts that overlap.
            Unavailable: Temporal does not answer.
        """
        at = await _a_second()

        def work(tx: Tx) -> ScheduleRow:
            row = schedules.get(tx, caller.org_id, schedule_id)
            _require_active(row)
            if row.terms.overlap is Overlap.SKIP and starts.open_runs(tx, row.id):
                raise Conflict("A run of the schedule is open, and overlapping starts are skipped.")
            if idempotency.reserve(tx, row.org_id, f"TRIGGER {row.id}", str(at), ""):
                raise Conflict("The schedule was triggered in this second already.")
            return row

        row = await self._database.write(work)
        await self._asking(row, lambda: self._timetable.trigger(row, at))
        return at

    async def backfill(
        self, caller: Caller, schedule_id: str, start: int, end: int, overlap: Overlap
    ) -> int:
        """Make the starts of all times from the one to the other; how many there are.

        Raises:
            NotFound: there is no such schedule.
            Conflict: its workflow is not active.
            Invalid: the range is not one, is not over yet, or has too many times.
            Unavailable: Temporal does not answer.
        """
        start, problems = max(start, 0), []
        if end < start:
            problems.append(Problem("The end is before the start.", path="body.end_at"))
        if end > clock.now():
            problems.append(Problem("The end is in the future.", path="body.end_at"))
        if problems:
            raise Invalid(problems[0].message, problems=problems)
        row = await self._find(caller, schedule_id)
        _require_active(row)
        # Times are whole seconds, and Temporal leaves out the first moment of a range.
        after = -(-start // SECOND) * SECOND - SECOND
        times = await self._asking(row, lambda: self._timetable.times(row, after, end))
        if len(times) > MOST_STARTS:
            message = f"The range has more than {MOST_STARTS} times of the schedule."
            raise Invalid(message, problems=[Problem(message, path="body.start_at")])
        if times:
            first, last = times[0], times[-1]
            await self._asking(row, lambda: self._timetable.backfill(row, first, last, overlap))
        return len(times)

    async def preview(
        self, caller: Caller, schedule_id: str, start: int | None, until: int | None, count: int
    ) -> Preview:
        """The next times of the schedule, whether or not it fires at present.

        Args:
            caller: whose schedule it is.
            schedule_id: the schedule.
            start: microseconds UTC; now when it is None.
            until: the last moment, or None for as far as Temporal knows.
            count: how many times at most.

        Raises:
            NotFound: there is no such schedule.
            Invalid: the range is not one.
            Unavailable: Temporal does not answer.
        """
        start = clock.now() if start is None else max(start, 0)
        until = _END if until is None else min(until, _END)
        if until < start:
            message = "The range ends before it begins."
            raise Invalid(message, problems=[Problem(message, path="query.until")])
        row = await self._find(caller, schedule_id)
        after = -(-start // SECOND) * SECOND - SECOND
        times = await self._asking(row, lambda: self._timetable.times(row, after, until))
        return Preview(row, times[:count], more=len(times) > count or len(times) == MOST_TIMES)

    async def _require_fitting(self, caller: Caller, workflow_id: str, terms: Terms) -> None:
        """Refuse an input that the latest version would refuse, before it fails in the night.

        Raises:
            NotFound: there is no such workflow.
            Invalid: the input does not fit.
        """

        def work(tx: Tx) -> dict[str, JsonValue] | None:
            row = workflows.get(tx, caller.org_id, workflow_id)
            return workflows.input_schema(tx, row.id, row.version)

        schema = await self._database.read(work)
        if schema is None:
            return
        problems = await asyncio.to_thread(check_input, schema, terms.input)
        if problems:
            message = "The input does not fit the input_schema of the workflow."
            raise Invalid(message, problems=problems)

    async def _find(self, caller: Caller, schedule_id: str) -> ScheduleRow:
        return await self._database.read(lambda tx: schedules.get(tx, caller.org_id, schedule_id))

    async def _tell(self, schedule_id: str) -> bool:
        """Tell Temporal now, if it answers; False when it does not take the schedule."""
        try:
            await self._timetable.tell(schedule_id)
        except Unavailable as error:
            log.warning("Temporal hears of schedule %s later: %s", schedule_id, error.message)
        except Invalid:
            log.warning("Temporal does not take schedule %s", schedule_id)
            return False
        return True

    async def _asking(self, row: ScheduleRow, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask something of Temporal, once it has the schedule as it is."""
        if not row.in_step:
            await self._timetable.tell(row.id)
        try:
            return await ask()
        except NotThere:
            await self._timetable.tell(row.id)
            return await ask()

    async def _views(self, rows: list[ScheduleRow]) -> list[View]:
        """The schedules with the times that Temporal says at once."""
        gate = asyncio.Semaphore(_AT_ONCE)

        async def next_time(row: ScheduleRow) -> int | None:
            if not row.enabled:
                return None
            async with gate:
                return await self._timetable.next_time(row)

        async def glance(row: ScheduleRow) -> View:
            with suppress(Unavailable, TimeoutError):
                return View(row, await asyncio.wait_for(next_time(row), _GLANCE))
            return View(row, None)

        return list(await asyncio.gather(*map(glance, rows)))


async def _a_second() -> int:
    """This second, which is to name an execution: one in which no cron can fire.

    A cron fires in the first second of a minute; whoever comes then waits for the next.
    """
    now = clock.now()
    if now % clock.MINUTE < SECOND:
        await asyncio.sleep((SECOND - now % SECOND) / SECOND)
        now += SECOND
    return now - now % SECOND


def _require_active(row: ScheduleRow) -> None:
    if not row.active:
        raise Conflict("The workflow is not active, so its schedules start nothing.")


def _unknown_zone() -> Invalid:
    message = "Temporal does not know the time zone."
    return Invalid(message, problems=[Problem(message, path="body.timezone")])
