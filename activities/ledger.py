"""The interpreter's own book-keeping: what never becomes a step's activity.

Opening a run (with its plan), skips and wake-ups, the outputs of a loop, the end of a run. Every
call may be repeated: it changes nothing the second time. Source: DESIGN §3.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from pydantic import JsonValue
from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from activities.definitions import Definitions
from activities.scopes import Scopes, describe, happened, load, see
from engine.batch import BatchEnd, BatchOpened, whole_steps
from engine.book import (
    ADMIT,
    WAKE,
    Due,
    DueOpened,
    Entries,
    LoopClosed,
    LoopEnd,
    Opened,
    Place,
    PlaceCall,
    RunClosed,
    RunEnd,
    RunRef,
)
from engine.call import StepCall
from engine.catalog import Catalog
from engine.errors import Conflict, StepError
from engine.expressions import ExpressionError, references, render
from engine.facts import Failure
from engine.lifecycle import RunStatus
from engine.outcomes import Done
from store import batches, endings, executions, journal, parking, starts, steps
from store.batches import BatchRow
from store.database import Database, Tx
from store.endings import Ended
from store.executions import Execution, Opening
from store.parking import Settled

_log = logging.getLogger(__name__)
T = TypeVar("T")


class Ledger:
    """The activities of the ledger; `limit` is how many places an organisation has."""

    def __init__(
        self,
        database: Database,
        definitions: Definitions,
        scopes: Scopes,
        catalog: Catalog,
        client: Client,
        limit: int,
    ) -> None:
        self._database = database
        self._definitions = definitions
        self._scopes = scopes
        self._catalog = catalog
        self._client = client
        self._limit = limit
        #: Kept, for the loop itself would let go of them.
        self._tasks: set[asyncio.Task[Any]] = set()

    @activity.defn(name="open_scheduled")
    async def open_scheduled(self, due: Due) -> DueOpened:
        """Make a run of a start by a schedule; or say that it is not to be one, or not yet."""
        opening = await self._database.write(lambda tx: starts.open_start(tx, due, self._limit))
        self._admit(opening.handed)
        return DueOpened(state=opening.state)

    @activity.defn(name="open_run")
    async def open_run(self, ref: RunRef) -> Opened:
        """Take a place and answer the plan; or say that there is none, or that the run is over."""
        opening = await self._write(
            lambda tx: executions.open_execution(tx, ref.run, ref.n, self._limit, self._catalog),
            lambda opening: self._admit(opening.handed),
        )
        if opening.pinned is not None:
            self._scopes.pin(ref.run, opening.pinned)
        return Opened(state=opening.state, plan=opening.plan, facts=opening.facts)

    @activity.defn(name="open_batch")
    async def open_batch(self, ref: RunRef) -> BatchOpened:
        """The same for a batch: what there is to do."""

        def work(tx: Tx) -> tuple[Opening, tuple[BatchRow, int] | None]:
            found = executions.open_execution(tx, ref.run, ref.n, self._limit, self._catalog)
            return found, batches.begin(tx, ref.run) if found.state == "admitted" else None

        opening, begun = await self._write(work, lambda found: self._admit(found[0].handed))
        if begun is None or opening.plan is None:
            return BatchOpened(state=opening.state)
        batch, first = begun
        return BatchOpened(
            state=opening.state,
            total=batch.total,
            first=first // batch.window_size,
            size=batch.window_size,
            concurrency=batch.concurrency,
            after=whole_steps(opening.plan),
        )

    @activity.defn(name="close_batch")
    async def close_batch(self, end: BatchEnd) -> None:
        """End the execution of a batch, as its counters say."""
        await self._write(
            lambda tx: batches.close(tx, end.run, end.n, end.how, self._limit, end.failure),
            self._tell,
        )

    @activity.defn(name="park_run")
    async def park_run(self, call: PlaceCall) -> Place:
        """Give the place of a run that only waits back, and hand it on."""
        return await self._settle(lambda tx: parking.give_back(tx, call, self._limit))

    @activity.defn(name="place_run")
    async def place_run(self, call: PlaceCall) -> Place:
        """Ask for a place for a run that goes on, or take note of the one that it was given."""
        return await self._settle(lambda tx: parking.ask(tx, call, self._limit))

    async def _settle(self, work: Callable[[Tx], Settled]) -> Place:
        return (await self._write(work, lambda settled: self._admit(settled.handed))).place

    @activity.defn(name="record")
    async def record(self, entries: Entries) -> None:
        """Record skips, wake-ups and waits that were given up."""
        with contextlib.suppress(Conflict):
            await self._database.write(
                lambda tx: journal.mark(tx, entries.run, entries.n, entries.entries)
            )

    @activity.defn(name="close_loop")
    async def close_loop(self, end: LoopEnd) -> LoopClosed:
        """Gather the outputs of a loop's items into its own, or record its failure."""
        call = StepCall(
            run=end.run,
            n=end.n,
            step=end.step,
            iteration=end.iteration,
            generation=end.generation,
            attempt=end.attempt,
            final=end.final,
        )
        failure = end.failure
        if failure is None:
            try:
                await self._gather(call)
                return LoopClosed()
            except StepError as error:
                failure = Failure(
                    code=error.stable_code, message=error.message, step=end.step, retryable=False
                )
        told = failure
        with contextlib.suppress(Conflict):
            await self._database.write(lambda tx: journal.fail(tx, call, told))
        return LoopClosed(failure=failure)

    async def _gather(self, call: StepCall) -> None:
        pinned = await self._scopes.version_of(call.run)
        if pinned is None:
            return
        version = await self._definitions.get(*pinned)
        body = [
            step_id
            for step_id, prepared in version.steps.items()
            if prepared.loops and prepared.loops[-1] == call.step
        ]

        def gather(tx: Tx) -> None:
            count = len(steps.items(tx, call.run, call.step, call.place))
            found = steps.outputs_of(tx, call.run, body[-1], call.place, call.generation)
            outputs: list[JsonValue] = [found.get(index) for index in range(count)]
            journal.finish(tx, call, Done(output=outputs))

        with contextlib.suppress(Conflict):
            await self._database.write(gather)

    @activity.defn(name="close_run")
    async def close_run(self, end: RunEnd) -> RunClosed:
        """End the execution, free its place and hand it on; how the run has ended.

        A run whose output cannot be made fails, although all its steps completed.
        """
        status, failure = end.status, end.failure
        if end.entries:
            await self.record(end)
        try:
            output = await self._output(end.run) if status is RunStatus.COMPLETED else None
            await self._close(end, status, failure, output)
        except (StepError, ExpressionError) as error:
            status = RunStatus.FAILED
            failure = Failure(code="output_failed", message=str(error), retryable=False)
            await self._close(end, status, failure, None)
        return RunClosed(status=status)

    async def _close(
        self,
        end: RunEnd,
        status: RunStatus,
        failure: Failure | None,
        output: Callable[[Tx], JsonValue] | None,
    ) -> None:
        await self._write(
            lambda tx: endings.end_execution(
                tx,
                end.run,
                end.n,
                status,
                self._limit,
                output=output(tx) if output else None,
                error=failure,
            ),
            self._tell,
        )

    async def _output(self, run_id: str) -> Callable[[Tx], JsonValue]:
        """The definition's `output`, else that of the last completed step in definition order."""
        pinned = await self._scopes.version_of(run_id)
        if pinned is None:
            return lambda tx: None
        definition = (await self._definitions.get(*pinned)).definition
        if definition.output is None:
            order = [step.id for step in definition.steps]
            return lambda tx: _last_output(tx, run_id, order)
        value = await self._rendered(run_id, definition.output)
        return lambda tx: value

    async def _rendered(self, run_id: str, template: JsonValue) -> JsonValue:
        needed = dict.fromkeys(references(template).steps, "")

        def scope(tx: Tx) -> dict[str, JsonValue]:
            run = steps.run_facts(tx, run_id)
            rows = steps.some(tx, run_id, needed)
            large = load(
                tx, run_id, [(step, "") for step, row in rows.items() if not row.output_inline]
            )
            data = steps.run_input(tx, run_id)
            return {
                "input": data,
                "run": describe(run_id, run) if run else None,
                **(happened(run, data) if run else {}),
                "steps": {step: see(rows.get(step), large.get(step)) for step in needed},
            }

        return render(template, await self._database.read(scope))

    async def _write(self, work: Callable[[Tx], T], tell: Callable[[T], None]) -> T:
        """Write, and tell Temporal what follows, also when nobody waits for the answer any more.

        A local activity is cancelled when its run leaves the worker's cache; what it has written
        stays, and when it is asked for again it finds nothing left to tell.
        """

        async def both() -> T:
            written = await self._database.write(work)
            tell(written)
            return written

        task = asyncio.create_task(both())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    def _tell(self, ended: Ended) -> None:
        """Tell Temporal what an end brings with it.

        The sweeper repeats what is lost here, and a step that waits for a run asks by itself.
        """
        self._admit(ended.handed)
        for execution in ended.called_off:
            self._later(execution.temporal_id, lambda handle: handle.cancel())
        if ended.waiting is not None:
            wake = ended.waiting.wake
            self._later(ended.waiting.temporal_id, lambda handle: handle.signal(WAKE, wake))

    def _admit(self, handed: Sequence[Execution]) -> None:
        """Tell the executions that were given a place; the sweeper repeats what is lost here."""
        for execution in handed:
            self._later(execution.temporal_id, lambda handle: handle.signal(ADMIT))

    def _later(
        self, temporal_id: str, tell: Callable[[WorkflowHandle[Any, Any]], Awaitable[None]]
    ) -> None:
        task = asyncio.create_task(self._reach(temporal_id, tell))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reach(
        self, temporal_id: str, tell: Callable[[WorkflowHandle[Any, Any]], Awaitable[None]]
    ) -> None:
        try:
            await tell(self._client.get_workflow_handle(temporal_id))
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                _log.info("%s was not told: %s", temporal_id, error.status.name)


def _last_output(tx: Tx, run_id: str, order: Sequence[str]) -> JsonValue:
    row = steps.last_completed(tx, run_id, order)
    if row is None or row.output_inline:
        return row.output if row else None
    return load(tx, run_id, [(row.step_id, "")])[row.step_id]
