"""Reading runs as jobs: lists, one with its log, and the entities of a batch.

A job is no thing of its own but a rendering of a run; contracts §4.2.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from app.services.auth import Caller
from app.services.versions import Versions
from engine.batch import LANE_OPEN, LaneStatus
from engine.errors import NotFound
from engine.lifecycle import TERMINAL, StepStatus
from store import batches, events, lanes, runs, steps
from store.batches import BatchRow, StepTally
from store.database import Database, Tx
from store.events import EventRow
from store.lanes import LaneRow
from store.runs import RunHead, RunRow, Wanted

#: Lanes that are in memory at a time while all are written out.
_CHUNK = 250
_COUNTS_AS = {
    StepStatus.COMPLETED: StepTally(completed=1),
    StepStatus.FAILED: StepTally(failed=1),
    StepStatus.SKIPPED: StepTally(skipped=1),
}


@dataclass(frozen=True)
class Job:
    """A run, and what else is known of it when it is a batch."""

    run: RunHead
    batch: BatchRow | None


@dataclass(frozen=True)
class JobView(Job):
    """A job with its log.

    Attributes:
        steps: how many lanes have completed, failed at and left out each step, in definition order.
        events: some of its events, oldest first.
    """

    steps: Mapping[str, StepTally]
    events: Sequence[EventRow]


@dataclass(frozen=True)
class JobPage:
    """Some jobs, newest first, and how many there are in all."""

    rows: list[Job]
    total: int


@dataclass(frozen=True)
class LanePage:
    """Some lanes of a run in their order, and how many there are in all.

    Attributes:
        over: the run is, so those that are not over were cancelled.
    """

    rows: list[LaneRow]
    total: int
    over: bool


class Jobs:
    """The jobs of every organisation, each for its callers to look at."""

    def __init__(self, database: Database, versions: Versions) -> None:
        self._database = database
        self._versions = versions

    async def get(self, caller: Caller, run_id: str, workflow_id: str | None = None) -> Job:
        """The job; where a workflow is given, one of that workflow.

        Raises:
            NotFound: there is none of this id in the caller's organisation.
        """

        def work(tx: Tx) -> Job:
            run = runs.get(tx, caller.org_id, run_id)
            if workflow_id not in (None, run.workflow_id):
                # In the words for one that is not there.
                run = runs.get(tx, caller.org_id, "-")
            return Job(run, batches.get(tx, run_id))

        return await self._database.read(work)

    async def page(self, caller: Caller, wanted: Wanted, limit: int, offset: int) -> JobPage:
        """Jobs of the organisation: all of its runs."""

        def work(tx: Tx) -> JobPage:
            rows, total = runs.page(tx, caller.org_id, wanted, limit=limit, offset=offset)
            found = batches.some(tx, [row.id for row in rows if row.lanes is not None])
            return JobPage([Job(row, found.get(row.id)) for row in rows], total)

        return await self._database.read(work)

    async def view(
        self, caller: Caller, run_id: str, after: int | None = None, limit: int = 0
    ) -> JobView:
        """The job with so many of its events: the last ones, or those behind event `after`.

        Raises:
            NotFound: there is none of this id in the caller's organisation.
        """

        def work(tx: Tx) -> JobView:
            run = runs.get(tx, caller.org_id, run_id)
            batch = batches.get(tx, run_id)
            mark = max(0, run.seq - limit) if after is None else after
            told = events.after(tx, {run_id: mark}, limit)
            return JobView(run, batch, self._tallies(tx, run, batch), told)

        return await self._database.read(work)

    def _tallies(self, tx: Tx, run: RunRow, batch: BatchRow | None) -> dict[str, StepTally]:
        outlines = self._versions.get(tx, run.workflow_id, run.version).steps
        counted = batch.steps if batch else {}
        # A step for the whole of a batch has a row, as those of other runs have.
        rows = {row.step_id: row for row in steps.page_rows(tx, run.id)}
        found = {}
        for outline in outlines:
            row = rows.get(outline.step_id)
            own = StepTally() if row is None else _COUNTS_AS.get(row.status, StepTally())
            found[outline.step_id] = counted.get(outline.step_id, own)
        return found

    async def lanes(
        self, caller: Caller, run_id: str, state: str | None, limit: int, offset: int
    ) -> LanePage:
        """Lanes of a run: none, if it is no batch.

        Args:
            caller: whose run it is.
            run_id: the run.
            state: that of the lanes, as `state_of` has it; None for any.
            limit: how many at most.
            offset: how many before them are left out.

        Raises:
            NotFound: there is no such run.
        """

        def work(tx: Tx) -> LanePage:
            over = runs.get(tx, caller.org_id, run_id).status in TERMINAL
            statuses = _statuses(state, over=over)
            if not statuses:
                return LanePage([], 0, over)
            rows, total = lanes.page(tx, run_id, statuses, limit=limit, offset=offset)
            return LanePage(rows, total, over)

        return await self._database.read(work)

    async def lane(self, caller: Caller, run_id: str, entity_id: str) -> LanePage:
        """The lane of one entity, on a page of its own.

        Raises:
            NotFound: there is no such run, or the entity is none of it.
        """

        def work(tx: Tx) -> LanePage:
            over = runs.get(tx, caller.org_id, run_id).status in TERMINAL
            row = lanes.of_entity(tx, run_id, entity_id)
            if row is None:
                raise NotFound("The job has no such entity.", code="entity_not_found")
            return LanePage([row], 1, over)

        return await self._database.read(work)

    async def all_lanes(
        self, caller: Caller, run_id: str, state: str | None
    ) -> tuple[bool, AsyncIterator[list[LaneRow]]]:
        """The same, all of them, some at a time; whether the run is over, and the lanes.

        Each is as it stands when its turn comes.

        Raises:
            NotFound: there is no such run.
        """
        over = (await self.get(caller, run_id)).run.status in TERMINAL
        return over, self._chunks(run_id, _statuses(state, over=over))

    async def _chunks(
        self, run_id: str, statuses: Sequence[LaneStatus]
    ) -> AsyncIterator[list[LaneRow]]:
        last, full = -1, bool(statuses)
        while full:
            work = partial(lanes.after, run_id=run_id, statuses=statuses, last=last, limit=_CHUNK)
            rows = await self._database.read(work)
            yield rows
            full = len(rows) == _CHUNK
            last = rows[-1].lane if rows else last


def state_of(status: LaneStatus, *, over: bool) -> str:
    """How a lane is shown: one that is not over when its run is was cancelled."""
    return "cancelled" if over and status in LANE_OPEN else str(status)


def _statuses(state: str | None, *, over: bool) -> list[LaneStatus]:
    """What the lanes have in the store that are shown so."""
    return [
        status for status in LaneStatus if state is None or state_of(status, over=over) == state
    ]
