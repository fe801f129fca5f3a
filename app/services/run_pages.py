"""Reading runs: lists, one with its steps, the items of a loop, the attempts of a step."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pydantic import JsonValue

from app.services.auth import Caller
from app.services.versions import Versions
from engine.errors import Conflict, NotFound
from engine.lifecycle import StepStatus
from engine.outline import Outline, find
from store import attempts, batches, blobs, items, lanes, runs, steps, values, workflows
from store.attempts import Attempt
from store.batches import BatchRow, StepTally
from store.database import Database, Tx
from store.items import Item, ItemState
from store.runs import RunHead, RunRow, Wanted
from store.steps import StepRow


@dataclass(frozen=True)
class StepView:
    """A step of the pinned version, and its record if it has begun.

    Attributes:
        items: for a loop, how many of its items stand where.
        tally: for a batch, how many lanes have completed, failed at and left out the step.
        begun_at: when the first of these lanes has begun, in microseconds UTC.
    """

    step_id: str
    row: StepRow | None
    items: Mapping[ItemState, int] | None = None
    tally: StepTally | None = None
    begun_at: int | None = None


@dataclass(frozen=True)
class RunView:
    """A run with every step of its version, in definition order.

    Attributes:
        orphaned: its workflow was deleted.
        batch: what else is known of it when it is one.
    """

    row: RunRow
    steps: list[StepView]
    orphaned: bool
    batch: BatchRow | None = None


@dataclass(frozen=True)
class RunList:
    """Some runs, newest first, and how many there are in all.

    Attributes:
        gone: ids of those of their workflows that were deleted.
    """

    rows: list[RunHead]
    total: int
    gone: frozenset[str]


@dataclass(frozen=True)
class ItemView:
    """An item of a loop with every step of the body, in definition order."""

    item: Item
    steps: list[StepView]


@dataclass(frozen=True)
class ItemPage:
    """Some items of a loop, and how many there are in all."""

    run: RunRow
    items: list[ItemView]
    total: int


def counts_of(tally: StepTally) -> dict[str, JsonValue]:
    """What a step of a batch has for an output: how its lanes have ended."""
    return {"completed": tally.completed, "failed": tally.failed, "skipped": tally.skipped}


class RunPages:
    """The runs of every organisation, each for its callers to look at."""

    def __init__(self, database: Database, versions: Versions) -> None:
        self._database = database
        self._versions = versions

    async def view(self, caller: Caller, run_id: str) -> RunView:
        """The run with its steps, as they are at one moment.

        Raises:
            NotFound: there is none of this id in the caller's organisation.
        """

        def work(tx: Tx) -> RunView:
            row = runs.get(tx, caller.org_id, run_id)
            recorded = {step.step_id: step for step in steps.page_rows(tx, run_id)}
            outlines = self._versions.get(tx, row.workflow_id, row.version).steps
            batch = batches.get(tx, run_id) if row.lanes is not None else None
            views = [_view(tx, run_id, step, recorded.get(step.step_id)) for step in outlines]
            if batch is not None:
                first = lanes.after(tx, run_id, (), -1, 1)
                at = first[0].started_at if first else None
                views = [
                    replace(view, tally=batch.steps.get(view.step_id), begun_at=at)
                    for view in views
                ]
            orphaned = bool(workflows.gone(tx, {row.workflow_id}))
            return RunView(row, views, orphaned, batch)

        return await self._database.read(work)

    async def page(self, caller: Caller, wanted: Wanted, limit: int, offset: int) -> RunList:
        """Runs of the organisation."""

        def work(tx: Tx) -> RunList:
            rows, total = runs.page(tx, caller.org_id, wanted, limit=limit, offset=offset)
            return RunList(rows, total, workflows.gone(tx, {row.workflow_id for row in rows}))

        return await self._database.read(work)

    async def page_of(
        self, caller: Caller, workflow_id: str, wanted: Wanted, limit: int, offset: int
    ) -> RunList:
        """The same of one workflow, which `wanted` names as well.

        Raises:
            NotFound: there is no such workflow in the caller's organisation.
        """

        def work(tx: Tx) -> RunList:
            workflows.get(tx, caller.org_id, workflow_id)
            rows, total = runs.page(tx, caller.org_id, wanted, limit=limit, offset=offset)
            return RunList(rows, total, frozenset())

        return await self._database.read(work)

    async def input(self, caller: Caller, run_id: str) -> bytes:
        """The JSON text of the run's input.

        Raises:
            NotFound: there is no such run.
        """
        row = await self._database.read(lambda tx: runs.get(tx, caller.org_id, run_id))
        return values.encode(row.input).encode()

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
        """The JSON text of a step's output; of a step of a batch, `counts_of` it.

        Raises:
            NotFound: there is no such run, or the step has no output there.
        """

        def work(tx: Tx) -> bytes:
            run = runs.get(tx, caller.org_id, run_id)
            batch = batches.get(tx, run_id) if run.lanes is not None else None
            tally = batch.steps.get(step_id) if batch and not iteration else None
            if tally is not None:
                return values.encode(counts_of(tally)).encode()
            return steps.output(tx, run.id, step_id, iteration)

        return await self._database.read(work)

    async def items(
        self,
        caller: Caller,
        run_id: str,
        step_id: str,
        iteration: str,
        state: ItemState | None,
        limit: int,
        offset: int,
    ) -> ItemPage:
        """Items of a loop in their order; none while the loop has not listed them.

        Raises:
            NotFound: there is no such run, or no such loop in its version.
        """

        def work(tx: Tx) -> ItemPage:
            run, outline = self._step(tx, caller, run_id, step_id)
            if not outline.body:
                raise NotFound(f"Step '{step_id}' is not a loop.", code="step_not_found")
            loop = steps.some(tx, run_id, {step_id: iteration}).get(step_id)
            if loop is None or loop.status is StepStatus.PENDING:
                return ItemPage(run, [], 0)
            found, total = items.page(tx, run_id, loop, outline, state, limit, offset)
            return ItemPage(run, [_item_view(tx, run_id, item, outline) for item in found], total)

        return await self._database.read(work)

    async def attempts(
        self, caller: Caller, run_id: str, step_id: str, iteration: str
    ) -> list[Attempt]:
        """All attempts of a step in one iteration, oldest first.

        Raises:
            NotFound: there is no such run, or no such step in its version.
            Conflict: the run is a batch, which carries the step out for each entity.
        """

        def work(tx: Tx) -> list[Attempt]:
            run, outline = self._step(tx, caller, run_id, step_id)
            if run.lanes is not None and not outline.whole:
                raise Conflict(
                    "The step is carried out for each entity of a batch: "
                    f"GET /api/v1/jobs/{run_id}/entities has the attempts of each.",
                    code="step_of_batch",
                )
            return attempts.attempts(tx, run_id, step_id, iteration)

        return await self._database.read(work)

    def _step(self, tx: Tx, caller: Caller, run_id: str, step_id: str) -> tuple[RunRow, Outline]:
        run = runs.get(tx, caller.org_id, run_id)
        outline = find(self._versions.get(tx, run.workflow_id, run.version).steps, step_id)
        if outline is None:
            raise NotFound("The run has no such step.", code="step_not_found")
        return run, outline


def _item_view(tx: Tx, run_id: str, item: Item, loop: Outline) -> ItemView:
    return ItemView(
        item, [_view(tx, run_id, step, item.steps.get(step.step_id)) for step in loop.body]
    )


def _view(tx: Tx, run_id: str, outline: Outline, row: StepRow | None) -> StepView:
    listed = outline.body and row is not None and row.status is not StepStatus.PENDING
    found = items.counts(tx, run_id, row, outline) if listed and row is not None else None
    return StepView(outline.step_id, row, found)
