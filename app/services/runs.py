"""Things done to runs: start, read, list, cancel, pause, resume.

A run is accepted by one transaction and dispatched after it; a verb is written as an intent first
and told to Temporal then. Whatever is lost in between, the sweeper does again.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from app.services.auth import Caller
from app.services.dispatch import Dispatch
from app.services.failpoints import failpoint
from app.services.once import Once, recall
from engine.catalog import Catalog
from engine.errors import Conflict, Unavailable
from engine.lifecycle import TERMINAL, DefinitionStatus, RunStatus
from store import blobs, executions, idempotency, runs, steps, values, workflows
from store.database import Database, Tx
from store.runs import NewRun, RunRow
from store.steps import StepRow

log = logging.getLogger("signalbox.runs")

#: Workflows that may be run by hand; contracts C-q4.
RUNNABLE = frozenset({DefinitionStatus.ACTIVE, DefinitionStatus.DRAFT})
#: Seconds that a cancel waits to see the run cancelled, and how often it looks.
_CANCEL_PATIENCE = 2.0
_LOOK = 0.05
#: Outlines of versions that are remembered; a version never changes.
_OUTLINES = 1_024


@dataclass(frozen=True)
class Start:
    """What a run is started with; `surface` is the one that it came in by."""

    workflow_id: str
    input: dict[str, Any]
    trigger: str
    surface: str


@dataclass(frozen=True)
class Answered:
    """The answer to a start; `replayed` when it is that of an earlier request."""

    run_id: str
    status: int
    body: bytes
    replayed: bool = False


@dataclass(frozen=True)
class StepView:
    """A step of the pinned version, and its record if it has begun.

    Attributes:
        items: for a loop, how many of its items stand where.
    """

    step_id: str
    row: StepRow | None
    items: dict[str, int] | None = None


@dataclass(frozen=True)
class RunView:
    """A run with every step of its version, in definition order."""

    row: RunRow
    steps: list[StepView]


@dataclass(frozen=True)
class _Outlined:
    """What the run page needs of a step of a definition; `last` is the end of a loop's body."""

    step_id: str
    last: str | None


class Runs:
    """The runs of every organisation, each through its callers."""

    def __init__(self, database: Database, dispatch: Dispatch, catalog: Catalog) -> None:
        self._database = database
        self._dispatch = dispatch
        self._catalog = catalog
        self._outlines: dict[tuple[str, int], list[_Outlined]] = {}

    async def start(
        self,
        caller: Caller,
        wanted: Start,
        once: Once | None,
        answer: Callable[[RunRow], Answered],
    ) -> Answered:
        """Accept a run and dispatch it; answers at once, also while Temporal is away.

        Args:
            caller: whose workflow it is.
            wanted: what to run.
            once: when given, the same key within 24 h gets the first answer again.
            answer: makes the answer, which is kept in the same transaction as the run.

        Raises:
            NotFound: there is no such workflow.
            Conflict: the workflow is paused or archived.
            Invalid: the key came before with another body (`idempotency_key_reused`).
        """

        def work(tx: Tx) -> tuple[Answered, RunRow | None]:
            if once is not None and (earlier := _recall(tx, caller.org_id, once)):
                return earlier, None
            run = _accept(tx, caller.org_id, wanted)
            answered = answer(run)
            if once is not None:
                idempotency.remember(
                    tx,
                    caller.org_id,
                    once.endpoint,
                    once.key,
                    run_id=run.id,
                    status_code=answered.status,
                    body=answered.body,
                )
            failpoint("accept.before_commit")
            return answered, run

        answered, run = await self._database.write(work)
        failpoint("accept.after_commit")
        if run is not None:
            await self._dispatch.attempt(run)
            failpoint("accept.after_dispatch")
        return answered

    async def get(self, caller: Caller, run_id: str) -> RunRow:
        """The run.

        Raises:
            NotFound: there is none of this id in the caller's organisation.
        """
        return await self._database.read(lambda tx: runs.get(tx, caller.org_id, run_id))

    async def view(self, caller: Caller, run_id: str) -> RunView:
        """The run with its steps, as they are at one moment.

        Raises:
            NotFound: there is none of this id in the caller's organisation.
        """

        def work(tx: Tx) -> RunView:
            row = runs.get(tx, caller.org_id, run_id)
            recorded = {step.step_id: step for step in steps.page_rows(tx, run_id)}
            return RunView(
                row,
                [
                    StepView(
                        outlined.step_id,
                        recorded.get(outlined.step_id),
                        steps.item_counts(tx, run_id, outlined.step_id, outlined.last)
                        if outlined.last and outlined.step_id in recorded
                        else None,
                    )
                    for outlined in self._outline(tx, row)
                ],
            )

        return await self._database.read(work)

    async def page(
        self,
        caller: Caller,
        workflow_id: str,
        statuses: Sequence[RunStatus],
        limit: int,
        offset: int,
    ) -> tuple[list[RunRow], int]:
        """Runs of a workflow, newest first, and how many there are in all.

        Raises:
            NotFound: there is no such workflow in the caller's organisation.
        """

        def work(tx: Tx) -> tuple[list[RunRow], int]:
            workflow = workflows.get(tx, caller.org_id, workflow_id)
            return runs.page(
                tx,
                caller.org_id,
                workflow_id=workflow.id,
                statuses=statuses,
                limit=limit,
                offset=offset,
            )

        return await self._database.read(work)

    async def output(self, caller: Caller, run_id: str) -> bytes:
        """The JSON text of the run's output, `null` while there is none.

        Raises:
            NotFound: there is no such run.
        """

        def work(tx: Tx) -> bytes:
            row = runs.get(tx, caller.org_id, run_id)
            if row.output_blob is not None:
                return blobs.get(tx, row.output_blob)
            return values.encode(row.output).encode()

        return await self._database.read(work)

    async def step_output(self, caller: Caller, run_id: str, step_id: str, iteration: str) -> bytes:
        """The JSON text of a step's output.

        Raises:
            NotFound: there is no such run, or the step has no output there.
        """

        def work(tx: Tx) -> bytes:
            run = runs.get(tx, caller.org_id, run_id)
            return steps.output(tx, run.id, step_id, iteration)

        return await self._database.read(work)

    async def cancel(self, caller: Caller, run_id: str) -> RunRow:
        """Cancel the run, and wait a moment to see it cancelled.

        Raises:
            NotFound: there is no such run.
            Conflict: it has completed or failed.
        """
        run = await self._database.write(lambda tx: executions.cancel(tx, caller.org_id, run_id))
        await self._tell(run)
        for _ in range(round(_CANCEL_PATIENCE / _LOOK)):
            if run.status in TERMINAL:
                break
            await asyncio.sleep(_LOOK)
            run = await self.get(caller, run_id)
        return run

    async def pause(self, caller: Caller, run_id: str) -> RunRow:
        """Pause the run: at once while it is queued, else after the steps that are in flight.

        Raises:
            NotFound: there is no such run.
            Conflict: it is over.
        """
        run = await self._database.write(lambda tx: executions.pause(tx, caller.org_id, run_id))
        await self._tell(run)
        return run

    async def resume(self, caller: Caller, run_id: str, from_step: str | None) -> RunRow:
        """Queue the run's next execution.

        Raises:
            NotFound: there is no such run.
            Invalid: there is no such step.
            Conflict: the run is not paused, failed or cancelled, or the step lacks a result.
        """
        run = await self._database.write(
            lambda tx: executions.resume(tx, caller.org_id, run_id, from_step, self._catalog)
        )
        await self._dispatch.attempt(run)
        return run

    async def _tell(self, run: RunRow) -> None:
        try:
            await self._dispatch.carry_out(run)
        except Unavailable as error:
            log.info("run %s learns of its %s later: %s", run.id, run.intent, error.message)

    def _outline(self, tx: Tx, run: RunRow) -> list[_Outlined]:
        key = (run.workflow_id, run.version)
        outline = self._outlines.get(key)
        if outline is None:
            definition = workflows.version(tx, run.workflow_id, run.version).definition
            outline = self._outlines_of(definition)
            if len(self._outlines) >= _OUTLINES:
                self._outlines.clear()
            self._outlines[key] = outline
        return outline

    def _outlines_of(self, definition: dict[str, Any]) -> list[_Outlined]:
        outlined = []
        for step in definition["steps"]:
            kind = self._catalog.get(step["type"])
            body = step.get("config", {}).get(kind.body) if kind and kind.body else None
            outlined.append(_Outlined(step["id"], body[-1]["id"] if body else None))
        return outlined


def _recall(tx: Tx, org_id: str, once: Once) -> Answered | None:
    """The answer that the key has got before; None when it is new, and ours from now on."""
    earlier = recall(tx, org_id, once)
    if earlier is None:
        return None
    return Answered(earlier.made, earlier.status, earlier.body, replayed=True)


def _accept(tx: Tx, org_id: str, wanted: Start) -> RunRow:
    workflow = workflows.get(tx, org_id, wanted.workflow_id)
    if workflow.status not in RUNNABLE:
        raise Conflict(f"The workflow is {workflow.status} and cannot be run.")
    return runs.accept(
        tx,
        NewRun(
            org_id=org_id,
            workflow_id=workflow.id,
            workflow_name=workflow.name,
            version=workflow.version,
            surface=wanted.surface,
            trigger=wanted.trigger,
            input=wanted.input,
        ),
    )
