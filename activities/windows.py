"""Windows of lanes: the activity that carries out a batch, some hundred entities at a time.

The lanes' rows are the journal: when the worker is lost, the window is asked for again and goes on
from there. Source: DESIGN §3; decision 0015.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from functools import partial
from typing import Literal, NamedTuple, TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities.base import AnyStepType
from activities.clients.runs import Runs
from activities.definitions import Definitions
from activities.doing import Desk, RunClosedError, micros
from activities.lane import Lane, Order, Stop
from activities.lane_log import LaneLog, UnwrittenError
from activities.scopes import describe
from engine.batch import WINDOW, WindowCall, WindowDone, lane_plan
from engine.catalog import Catalog
from engine.errors import NotFound, Unavailable
from engine.lifecycle import Intent, RunStatus
from engine.plan import compile_plan
from store import batches, entity_types, entity_updates, lanes, runs, steps
from store.batches import BatchRow
from store.database import Tx
from store.entities import EntityRow
from store.entity_types import TypeRow
from store.lanes import LaneRow
from store.runs import RunRow

#: Lanes whose entities are read together.
_AHEAD = 50
#: Seconds between two looks at what was asked of the run, and between two heartbeats.
_LOOK = 1.0
#: Seconds that what is done already has to be written after a cancel.
_LAST = 2.0

_log = logging.getLogger(__name__)
T = TypeVar("T")


class Begun(NamedTuple):
    """What a window begins with; `kind` is None when the type was deleted."""

    run: RunRow
    batch: BatchRow
    kind: TypeRow | None
    lanes: list[LaneRow]


class Windows:
    """Carries out windows of lanes; one for a worker process."""

    def __init__(
        self,
        desk: Desk,
        definitions: Definitions,
        catalog: Catalog,
        types: Mapping[str, AnyStepType],
        starts: Runs,
    ) -> None:
        self._desk = desk
        self._definitions = definitions
        self._catalog = catalog
        self._types = types
        self._starts = starts

    @activity.defn(name=WINDOW)
    async def perform_lanes(self, call: WindowCall) -> WindowDone:
        """Carry out the lanes of a window that are not over."""
        stop, began = Stop(), micros()
        async with self._watched(call, stop):
            begun = await self._read(partial(_begun, call=call))
            if begun is None:
                return WindowDone(state="over")
            run, batch = begun.run, begun.batch
            log = LaneLog(self._desk.database, self._starts, run)
            async with log.opened():
                order = await self._order(begun, log, stop)
                try:
                    finished = await self._carry_out(order, begun.lanes, call.at_once)
                except RunClosedError:
                    return WindowDone(state="over")
                except asyncio.CancelledError:
                    # What is done already counts, although nothing more is begun.
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_LAST):
                            await log.drain()
                    raise
                await log.drain()
                if log.broken:
                    raise UnwrittenError
                if log.over:
                    return WindowDone(state="over")
                if not finished and stop.reason == "leaving":
                    # What is under way has its time to end, and another worker goes on.
                    raise _leaving()
                # What the attempt before this one has not told of, as its worker was lost.
                since = began if activity.info().attempt == 1 else 0
                first = call.window * batch.window_size
                await _patiently(lambda: log.tell(first, batch.window_size, since))
        return WindowDone(state="done" if finished else _state(stop.reason))

    async def _order(self, begun: Begun, log: LaneLog, stop: Stop) -> Order:
        run = begun.run
        version = await _patiently(lambda: self._definitions.get(run.workflow_id, run.version))
        facts = await self._read(partial(steps.run_facts, run_id=run.id))
        assert facts is not None
        return Order(
            run=run,
            kind=begun.kind,
            plan=lane_plan(compile_plan(version.definition, self._catalog)),
            version=version,
            types=self._types,
            desk=self._desk,
            log=log,
            stop=stop,
            told={"input": run.input, "run": describe(run.id, facts), "event": None},
            waits=begun.batch.max_failures is not None,
        )

    async def _carry_out(self, order: Order, open_lanes: list[LaneRow], at_once: int) -> bool:
        """Carry out lanes, some at the same time; whether all are over.

        Raises:
            RunClosedError: the run is past this.
        """
        coming = _Coming(self, order, open_lanes)
        finished = 0

        async def one_after_the_other() -> None:
            nonlocal finished
            while (lane := await coming.next()) is not None:
                over = await lane.carry_out()
                finished += over
                if order.log.halted:
                    order.stop.ask("halted")
                if order.stop.reason is not None:
                    return

        tasks = [asyncio.create_task(one_after_the_other()) for _ in range(at_once)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return finished == len(open_lanes)

    async def entities(self, run: RunRow, rows: list[LaneRow]) -> dict[str, EntityRow]:
        """The entities of these lanes that were not deleted, by id."""
        ids = [row.entity_id for row in rows]
        return await self._read(lambda tx: entity_updates.present(tx, run.org_id, ids))

    async def _read(self, work: Callable[[Tx], T]) -> T:
        return await _patiently(lambda: self._desk.database.read(work))

    @contextlib.asynccontextmanager
    async def _watched(self, call: WindowCall, stop: Stop) -> AsyncGenerator[None, None]:
        """Heartbeat, and ask the lanes to stop: when the run is to pause or is over, or we are."""
        # Apart from each other: a database that does not answer is no lost worker.
        tasks = [
            asyncio.create_task(_beat()),
            asyncio.create_task(self._watch(call, stop)),
            asyncio.create_task(_leave(stop)),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()

    async def _watch(self, call: WindowCall, stop: Stop) -> None:
        while True:
            with contextlib.suppress(Unavailable):
                reason = await self._desk.database.read(partial(_asked, call=call))
                if reason is not None:
                    stop.ask(reason)
            await asyncio.sleep(_LOOK)


async def _patiently(work: Callable[[], Awaitable[T]]) -> T:
    """Do it, for as long as it takes: a database that is away only delays the batch."""
    while True:
        try:
            return await work()
        except Unavailable:
            _log.warning("a batch waits for the database")
            await asyncio.sleep(1)


async def _beat() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(_LOOK)


async def _leave(stop: Stop) -> None:
    await activity.wait_for_worker_shutdown()
    stop.ask("leaving")


def _asked(tx: Tx, call: WindowCall) -> str | None:
    """Why the lanes are to stop; None when nothing was asked of the run."""
    facts = steps.run_facts(tx, call.run)
    if facts is None or facts.n != call.n or facts.status is not RunStatus.RUNNING:
        return "over"
    match facts.intent:
        case Intent.PAUSE:
            return "paused"
        case Intent.CANCEL | Intent.TERMINATE:
            return "over"
    batch = batches.get(tx, call.run)
    return "halted" if batch is not None and batch.halted else None


def _leaving() -> ApplicationError:
    """What has Temporal hand the rest of a window to another worker."""
    return ApplicationError(
        "The worker is being stopped.",
        type="WorkerStopping",
        category=ApplicationErrorCategory.BENIGN,
    )


def _state(reason: str | None) -> Literal["paused", "halted", "over"]:
    match reason:
        case "paused" | "halted":
            return reason
        case _:
            return "over"


def _begun(tx: Tx, call: WindowCall) -> Begun | None:
    """What a window begins with; None when the run is not carried out by this execution."""
    run, batch = runs.by_id(tx, call.run), batches.get(tx, call.run)
    if run is None or batch is None or run.n != call.n or run.status is not RunStatus.RUNNING:
        return None
    try:
        kind = entity_types.get(tx, run.org_id, batch.type_id)
    except NotFound:
        # A type that has records is not deleted: they are gone, and each lane says so.
        kind = None
    first = call.window * batch.window_size
    return Begun(run, batch, kind, lanes.window(tx, call.run, first, batch.window_size))


class _Coming:
    """The lanes that have not begun, for whoever is free; their entities are read ahead."""

    def __init__(self, windows: Windows, order: Order, rows: list[LaneRow]) -> None:
        self._windows = windows
        self._order = order
        self._rows = deque(rows)
        self._ready: deque[Lane] = deque()
        self._reading = asyncio.Lock()

    async def next(self) -> Lane | None:
        """The next one; None when there is none left."""
        async with self._reading:
            if not self._ready and self._rows:
                rows = [self._rows.popleft() for _ in range(min(_AHEAD, len(self._rows)))]
                found = await self._windows.entities(self._order.run, rows)
                self._ready.extend(Lane(self._order, row, found.get(row.entity_id)) for row in rows)
            return self._ready.popleft() if self._ready else None
