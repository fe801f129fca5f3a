"""Things done to runs: start, cancel, pause, resume, terminate, delete.

A run is accepted as `app.services.acceptance` says; a verb is written as an intent first
and told to Temporal then. Whatever is lost in between, the sweeper does again.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from app.services.acceptance import accepted, held, require_fitting, require_plain
from app.services.auth import Caller
from app.services.dispatch import Dispatch
from app.services.once import Answered, Once
from app.services.versions import Versions
from engine.catalog import Catalog
from engine.errors import Conflict, NotFound, Unavailable
from engine.lifecycle import TERMINAL
from store import executions, runs, terminations, workflows
from store.database import Database, Tx
from store.runs import NewRun, RunRow

log = logging.getLogger("signalbox.runs")

#: Seconds that a cancel waits to see the run cancelled, and how often it looks.
_CANCEL_PATIENCE = 2.0
_LOOK = 0.05


@dataclass(frozen=True)
class Start:
    """What a run is started with; `surface` is the one that it came in by."""

    workflow_id: str
    input: dict[str, Any]
    trigger: str
    surface: str


class Runs:
    """The runs of every organisation, each through its callers."""

    def __init__(
        self,
        database: Database,
        dispatch: Dispatch,
        catalog: Catalog,
        versions: Versions,
        places: int,
    ) -> None:
        self._database = database
        self._dispatch = dispatch
        self._catalog = catalog
        self._versions = versions
        self._places = places

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
            Conflict: the workflow is paused or archived, or for entities (`workflow_is_batch`).
            Invalid: the input does not fit the workflow's `input_schema`, or the key came before
                with another body (`idempotency_key_reused`).
        """
        return await accepted(
            self._database,
            self._dispatch,
            caller.org_id,
            once,
            answer,
            partial(self._accept, caller.org_id, wanted),
        )

    def _accept(self, org_id: str, wanted: Start, tx: Tx, fits: int | None) -> RunRow:
        workflow = held(tx, org_id, wanted.workflow_id)
        version = require_plain(self._versions, tx, workflow)
        require_fitting(workflow, version, wanted.input, fits)
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

    async def get(self, caller: Caller, run_id: str) -> RunRow:
        """The run.

        Raises:
            NotFound: there is none of this id in the caller's organisation.
        """
        return await self._database.read(lambda tx: runs.get(tx, caller.org_id, run_id))

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
            Conflict: the run is not paused, failed or cancelled, the step lacks a result, or the
                workflow was deleted.
        """

        def work(tx: Tx) -> RunRow:
            row = runs.get(tx, caller.org_id, run_id)
            try:
                workflows.hold(tx, caller.org_id, row.workflow_id)
            except NotFound as error:
                raise Conflict("Its workflow was deleted.") from error
            return executions.resume(tx, caller.org_id, run_id, from_step, self._catalog)

        run = await self._database.write(work)
        await self._dispatch.attempt(run)
        return run

    async def terminate(self, caller: Caller, run_id: str) -> RunRow:
        """End the run now, whatever the workers do; Temporal hears of it now or later.

        Raises:
            NotFound: there is no such run.
            Conflict: it has completed or failed.
        """
        run, handed = await self._database.write(
            lambda tx: terminations.terminate(tx, caller.org_id, run_id, self._places)
        )
        await self._tell(run)
        for execution in handed:
            with suppress(Unavailable):
                await self._dispatch.admit(execution)
        return await self.get(caller, run_id)

    async def delete(self, caller: Caller, run_id: str) -> None:
        """Delete a run that is over, and all that belongs to it.

        Raises:
            NotFound: there is no such run.
            Conflict: it is not over.
        """
        await self._database.write(lambda tx: terminations.delete(tx, caller.org_id, run_id))

    async def _tell(self, run: RunRow) -> None:
        try:
            await self._dispatch.carry_out(run)
        except Unavailable as error:
            log.info("run %s learns of its %s later: %s", run.id, run.intent, error.message)
