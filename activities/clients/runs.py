"""The one door through which a step starts another run and looks at it.

The run is accepted first and started in Temporal after that commit. If Temporal does not answer, or
this process dies in between, the sweeper starts it. Source: decision 0006.
"""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from pydantic import JsonValue
from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from engine.batch import BATCH
from engine.book import RUN, TASK_TIMEOUT, RunRef
from engine.call import StepCall
from engine.catalog import Catalog
from engine.errors import StepError
from engine.lifecycle import Intent, RunStatus
from engine.schema import check_input
from store import blobs, children, runs
from store.database import Database, Tx
from store.runs import RunRow
from store.values import decode

_log = logging.getLogger(__name__)

#: Seconds that one call to Temporal may take; DESIGN §3.2.
_PATIENCE = timedelta(seconds=5)
#: What a call to a Temporal that is away raises; the client wraps a failed connection.
_UNREACHABLE = (RPCError, RuntimeError, OSError, TimeoutError)
#: Seconds between two looks at a run that is being cancelled.
_LOOK = 0.25


@dataclass(frozen=True)
class Child:
    """A run that a step has started.

    Attributes:
        output: of a completed run.
        error: `{"code", "message"}` of a failed one.
    """

    id: str
    status: RunStatus
    output: JsonValue = None
    error: dict[str, JsonValue] | None = None


class Runs:
    """Starts runs in Temporal on one task queue."""

    def __init__(
        self, database: Database, client: Client, task_queue: str, catalog: Catalog
    ) -> None:
        self._database = database
        self._client = client
        self._task_queue = task_queue
        self._catalog = catalog

    async def start(
        self, call: StepCall, workflow: str, input: dict[str, JsonValue], *, awaited: bool
    ) -> Child:
        """Start the step's run, or find the one that an earlier attempt has started.

        A run that is awaited and did not succeed goes on where it ended.

        Raises:
            StepError: `input_invalid`, and see `store.children.start`.
            Unavailable: the database does not answer.
        """
        fits: int | None = None

        def work(tx: Tx) -> RunRow:
            return children.start(
                tx,
                call,
                workflow=workflow,
                input=input,
                awaited=awaited,
                catalog=self._catalog,
                fits=fits,
            )

        while True:
            try:
                row = await self._database.write(work)
                break
            except children.UncheckedInput as unchecked:
                problems = await asyncio.to_thread(check_input, unchecked.schema, input)
                if problems:
                    raise StepError(
                        "input_invalid",
                        f"The input of step '{call.step}' does not fit the input_schema of the "
                        f"workflow: {problems[0].message}",
                        retryable=False,
                    ) from None
                fits = unchecked.version
        while awaited and row.status is RunStatus.RUNNING and row.intent is Intent.CANCEL:
            # It was cancelled with the parent, which goes on already.
            await asyncio.sleep(_LOOK)
            row = await self._database.write(work)
        if row.status is RunStatus.QUEUED and row.dispatched_at is None:
            await self.dispatch(row)
        return await self._database.read(lambda tx: _child(tx, row))

    async def look(self, call: StepCall) -> Child | None:
        """The run that the step has started, as it stands; None when it was deleted.

        Raises:
            Unavailable: the database does not answer.
        """

        def work(tx: Tx) -> Child | None:
            row = children.find(tx, call)
            return None if row is None else _child(tx, row)

        return await self._database.read(work)

    async def dispatch(self, row: RunRow) -> None:
        """Start a run that was accepted; while Temporal is away it is left to the sweeper.

        Raises:
            Unavailable: the database does not answer.
        """
        try:
            with suppress(WorkflowAlreadyStartedError):
                await self._client.start_workflow(
                    RUN if row.lanes is None else BATCH,
                    RunRef(run=row.id, n=row.n),
                    id=row.temporal_id,
                    task_queue=self._task_queue,
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                    task_timeout=timedelta(seconds=TASK_TIMEOUT),
                    rpc_timeout=_PATIENCE,
                )
        except _UNREACHABLE as error:
            _log.warning("run %s is left to the sweeper: %s", row.id, error)
            return
        await self._database.write(lambda tx: runs.dispatched(tx, row.id, row.n))


def _child(tx: Tx, row: RunRow) -> Child:
    output = row.output
    if row.output_blob is not None:
        output = decode(blobs.get(tx, row.output_blob).decode())
    return Child(row.id, row.status, output, row.error)
