"""Tells Temporal what the store has decided: start, admit, pause, cancel, terminate.

Everything here may fail and may be repeated: the store has the truth, and the sweeper tells
Temporal again what it has not heard. A call gives up after `PATIENCE` seconds.
"""

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from engine.book import Wake
from engine.errors import Unavailable
from engine.lifecycle import Intent, RunStatus
from store import runs, terminations
from store.database import Database, Tx
from store.places import Execution
from store.runs import RunRow
from workflows.contract import (
    ADMIT,
    BATCH,
    PAUSE,
    RUN,
    TASK_TIMEOUT,
    WAKE,
    BatchInput,
    RunInput,
)

T = TypeVar("T")

log = logging.getLogger("signalbox.dispatch")

#: Seconds that one call to Temporal may take; DESIGN §3.2.
PATIENCE = 5.0
_RPC_TIMEOUT = timedelta(seconds=PATIENCE)
#: Runs that are told of something at the same time.
_AT_ONCE = 20
#: Seconds for which dispatched runs are gathered before the store is told of them together.
_GATHER = 0.05
#: What a call to a Temporal that is away raises: the client wraps a failed first connection in a
#: RuntimeError.
UNREACHABLE = (RPCError, RuntimeError, OSError, TimeoutError)


class Dispatch:
    """The API's one voice towards Temporal."""

    def __init__(self, client: Client, task_queue: str, database: Database) -> None:
        self._client = client
        self._task_queue = task_queue
        self._database = database
        self._started: list[tuple[str, int]] = []
        self._more = asyncio.Event()

    async def start(self, run: RunRow) -> None:
        """Start the run's execution; one that is there already is as good.

        Raises:
            Unavailable: Temporal does not answer. The run stays queued.
        """
        batch = run.lanes is not None
        with suppress(WorkflowAlreadyStartedError):
            await _reach(
                self._client.start_workflow(
                    BATCH if batch else RUN,
                    BatchInput(run=run.id, n=run.n) if batch else RunInput(run=run.id, n=run.n),
                    id=run.temporal_id,
                    task_queue=self._task_queue,
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                    task_timeout=timedelta(seconds=TASK_TIMEOUT),
                    rpc_timeout=_RPC_TIMEOUT,
                )
            )
        self._started.append((run.id, run.n))
        self._more.set()

    async def attempt(self, run: RunRow) -> bool:
        """Start the execution if Temporal answers; otherwise the sweeper does it later."""
        try:
            await self.start(run)
        except Unavailable as error:
            log.warning("run %s stays queued: %s", run.id, error.message)
            return False
        return True

    async def attempt_all(self, runs: Sequence[RunRow]) -> bool:
        """Start executions, some at a time, until Temporal does not answer; whether it always did.

        The sweeper starts the rest.
        """
        for start in range(0, len(runs), _AT_ONCE):
            acts = (self.attempt(run) for run in runs[start : start + _AT_ONCE])
            if not all(await asyncio.gather(*acts)):
                return False
        return True

    async def admit(self, execution: Execution) -> None:
        """Tell an execution that it has got a place.

        Raises:
            NotStarted: Temporal does not know it.
            Unavailable: Temporal does not answer.
        """
        handle = self._handle(execution.temporal_id)
        await _reach(handle.signal(ADMIT, rpc_timeout=_RPC_TIMEOUT))

    async def wake(self, temporal_id: str, over: Wake) -> None:
        """Tell an execution that what a step of it waits for is over.

        Raises:
            NotStarted: Temporal does not know it.
            Unavailable: Temporal does not answer.
        """
        handle = self._handle(temporal_id)
        await _reach(handle.signal(WAKE, over, rpc_timeout=_RPC_TIMEOUT))

    async def carry_out(self, run: RunRow) -> None:
        """Tell the execution what an operator asked of the run.

        Raises:
            NotStarted: Temporal does not know it.
            Unavailable: Temporal does not answer.
        """
        handle = self._handle(run.temporal_id)
        if run.intent is None and run.status in (RunStatus.CANCELLED, RunStatus.PAUSED):
            # It was only waiting for a place: the execution is not needed any more.
            await _reach(handle.cancel(rpc_timeout=_RPC_TIMEOUT))
        match run.intent:
            case Intent.CANCEL:
                await _reach(handle.cancel(rpc_timeout=_RPC_TIMEOUT))
            case Intent.PAUSE:
                await _reach(handle.signal(PAUSE, rpc_timeout=_RPC_TIMEOUT))
            case Intent.TERMINATE:
                with suppress(NotStarted):
                    await _reach(handle.terminate(rpc_timeout=_RPC_TIMEOUT))
                await self._database.write(partial(terminations.terminated, run_id=run.id, n=run.n))
            case None:
                pass

    async def tell(self, runs: Sequence[RunRow]) -> None:
        """Tell what was asked of many runs; the sweeper tells the rest when Temporal is away."""
        for start in range(0, len(runs), _AT_ONCE):
            acts = (self.carry_out(run) for run in runs[start : start + _AT_ONCE])
            for failure in await asyncio.gather(*acts, return_exceptions=True):
                if isinstance(failure, Unavailable) and not isinstance(failure, NotStarted):
                    log.info("%d runs learn later what was asked: %s", len(runs), failure.message)
                    return
                if failure is not None and not isinstance(failure, NotStarted):
                    raise failure

    async def ended(self, run: RunRow) -> str | None:
        """How the execution ended, in Temporal's words; None while it is open.

        Raises:
            NotStarted: Temporal does not know it.
            Unavailable: Temporal does not answer.
        """
        found = await _reach(self._handle(run.temporal_id).describe(rpc_timeout=_RPC_TIMEOUT))
        if found.close_time is None or found.status is None:
            return None
        return found.status.name.lower()

    async def reachable(self, seconds: float) -> bool:
        """Whether Temporal answers within this time."""
        try:
            async with asyncio.timeout(seconds):
                return await self._client.service_client.check_health(
                    timeout=timedelta(seconds=seconds)
                )
        except UNREACHABLE:
            return False

    async def note_started(self) -> None:
        """Write down for ever, many at a time, what Temporal has taken.

        A note that is lost costs one start that Temporal answers with "already started".
        """
        while True:
            await self._more.wait()
            await asyncio.sleep(_GATHER)
            self._more.clear()
            started, self._started = self._started, []

            def work(tx: Tx, started: list[tuple[str, int]] = started) -> None:
                # In one order everywhere, or two processes could wait for each other's rows.
                for run_id, n in sorted(started):
                    runs.dispatched(tx, run_id, n)

            with suppress(Unavailable):
                await self._database.write(work)

    def _handle(self, temporal_id: str) -> WorkflowHandle[Any, Any]:
        return self._client.get_workflow_handle(temporal_id)


class NotStarted(Unavailable):
    """Temporal does not know the execution, or it is over."""


async def _reach(call: Awaitable[T]) -> T:
    """Wait for Temporal, with a bound of our own: a first connection knows none."""
    try:
        return await asyncio.wait_for(call, PATIENCE)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise NotStarted() from error
        raise Unavailable(f"Temporal does not answer: {error.status.name}.") from error
    except UNREACHABLE as error:
        raise Unavailable("Temporal does not answer.") from error
