"""The wrapper round every step: the one place where a step meets Temporal and the store.

It answers from the journal what is already recorded, renders and validates the configuration, runs
the step inside its time, records what came of it, and turns that into what Temporal understands.
A failure of the step itself is never retried by Temporal: the interpreter decides about that.

    ApplicationError types of ours
    ├── MoveToOrdinary   the local activity takes long; its request goes on
    ├── RunClosed        the run is over, or being cancelled: nothing was done
    ├── Pausing          the run is being paused: nothing was done, and a resume asks again
    ├── Unplaced         the run holds no place: nothing was done, and it asks for one first
    ├── StoreUnavailable the database does not answer
    ├── NotYet           a condition does not hold; asked again after its interval
    └── (a step's code)  the step failed; details: `{"retryable": bool, "retry_after"?: seconds}`
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import NamedTuple

from pydantic import JsonValue
from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities.attempt import MESSAGE, Attempt
from activities.base import AnyStepType
from activities.definitions import Definitions, Prepared
from activities.doing import Desk, RunClosedError
from activities.flights import Flight, Flights
from activities.scopes import Scopes
from engine.call import StepCall
from engine.errors import StepError, Unavailable
from engine.facts import OUTCOME_UNKNOWN, PAUSING, UNPLACED
from engine.foreign import WANTED, CallRef
from engine.lifecycle import Intent, RunStatus, StepStatus
from engine.outcomes import Answer, Await, Outcome
from store import steps, workers
from store.database import Tx
from store.steps import RunFacts, StepRow

#: Seconds after which a local activity is handed over.
HAND_OVER = 1.5
#: Seconds after which a worker that was not seen counts as gone.
_GONE = 10.0


class PausingError(Exception):
    """The run is being paused, and the step has not begun."""


class _Seen(NamedTuple):
    """What a step has to know before it begins; `own` is its row."""

    prepared: Prepared
    own: StepRow | None
    scope: dict[str, JsonValue]
    org_id: str


class UnplacedError(Exception):
    """The run holds no place, although the interpreter thinks so, and the step has not begun."""


_log = logging.getLogger(__name__)


class Performer:
    """Carries out steps of every type; one for a worker process."""

    def __init__(self, desk: Desk, definitions: Definitions, scopes: Scopes) -> None:
        self._database = desk.database
        self._definitions = definitions
        self._desk = desk
        self._worker = desk.worker
        self._flights = Flights()
        self._scopes = scopes

    @activity.defn(name=WANTED)
    async def call_is_wanted(self, ref: CallRef) -> bool:
        """Whether a step waits for this call of somebody else's activity, or soon may."""
        call = ref.step

        def look(tx: Tx) -> bool:
            if _closed(call, steps.run_facts(tx, call.run)):
                return False
            row = steps.some(tx, call.run, {call.step: call.place}).get(call.step)
            if row is None:
                return True
            asked = (call.n, call.generation, call.attempt)
            recorded = (row.n, row.generation, row.attempt)
            # What began is recorded a moment later.
            return recorded < asked or (recorded == asked and row.status is StepStatus.RUNNING)

        return await self._database.read(look)

    def activity(self, name: str, step_type: AnyStepType) -> Callable[..., Awaitable[Answer]]:
        """The Temporal activity of a step type."""

        @activity.defn(name=name)
        async def perform(call: StepCall) -> Answer:
            return await self._perform(call, step_type)

        return perform

    async def close(self) -> None:
        """End what is under way."""
        await self._flights.close()

    async def drop_orphans(self) -> None:
        """Cancel handed-over steps whose run was closed before anything joined them."""
        for flight in self._flights.orphans():
            facts = await self._database.read(partial(steps.run_facts, run_id=flight.call.run))
            if _closed(flight.call, facts):
                flight.task.cancel()

    # --- towards Temporal -----------------------------------------------------------------

    async def _perform(self, call: StepCall, step_type: AnyStepType) -> Answer:
        try:
            if call.poll:
                # Temporal asks anew without the interpreter: its own time is of the first asking.
                asked = activity.info().current_attempt_scheduled_time
                call = call.model_copy(update={"now": asked.timestamp()})
            if call.moved and activity.info().attempt == 1:
                await self._wait_elsewhere(call)
            flight = self._flights.join(call, lambda joined: self._carry_out(joined, step_type))
            outcome = await self._follow(call, flight, hand_over=step_type.lane != "decides")
        except StepError as error:
            _log.info("step %s/%s failed: %s", call.run, call.step, error.stable_code)
            details: dict[str, bool | float] = {"retryable": error.retryable}
            if error.retry_after is not None:
                details["retry_after"] = error.retry_after
            raise _quiet(error.message[:MESSAGE], error.stable_code, details) from None
        except RunClosedError:
            raise _quiet("The run is over.", "RunClosed") from None
        except PausingError:
            raise _quiet("The run is being paused.", PAUSING) from None
        except UnplacedError:
            raise _quiet("The run holds no place.", UNPLACED) from None
        except Unavailable as error:
            raise ApplicationError(error.message, type="StoreUnavailable") from None
        if call.poll and isinstance(outcome, Await):
            raise ApplicationError(
                "The condition does not hold yet.",
                type="NotYet",
                next_retry_delay=timedelta(seconds=outcome.interval),
                category=ApplicationErrorCategory.BENIGN,
            )
        return Answer(outcome)

    async def _follow(self, call: StepCall, flight: Flight, *, hand_over: bool) -> Outcome:
        """Wait for the flight as this kind of activity may: for a while, or heartbeating."""
        flight.waiting += 1
        try:
            if call.local and hand_over:
                done, _ = await asyncio.wait({flight.task}, timeout=HAND_OVER)
                if not done:
                    raise _quiet("The step takes long.", "MoveToOrdinary")
                return flight.task.result()
            async with _heartbeats(on=not call.local):
                return await asyncio.shield(flight.task)
        except asyncio.CancelledError:
            await self._let_go(flight)
            raise
        finally:
            flight.waiting -= 1

    async def _let_go(self, flight: Flight) -> None:
        """End the flight if its run was cancelled; else whoever asks again joins it.

        Temporal also cancels what it will ask for again: a local activity whose workflow task was
        lost, an ordinary one whose heartbeat came too late.
        """
        try:
            facts = await self._database.read(partial(steps.run_facts, run_id=flight.call.run))
        except Unavailable:
            return
        if _closed(flight.call, facts):
            flight.task.cancel()
            await asyncio.wait({flight.task})

    async def _wait_elsewhere(self, call: StepCall) -> None:
        """Wait while the worker that handed the step over is still busy with it."""
        async with _heartbeats(on=True):
            while True:
                since = int((time.time() - _GONE) * 1_000_000)

                def busy(tx: Tx, since: int = since) -> bool:
                    row = steps.some(tx, call.run, {call.step: call.place}).get(call.step)
                    return (
                        row is not None
                        and row.status is StepStatus.RUNNING
                        and row.worker is not None
                        and row.worker != self._worker
                        and workers.alive(tx, row.worker, since)
                    )

                if not await self._database.read(busy):
                    return
                await asyncio.sleep(0.25)

    # --- the step -------------------------------------------------------------------------

    async def _carry_out(self, call: StepCall, step_type: AnyStepType) -> Outcome:
        seen = await self._desk.patiently(call, lambda: self._look(call))
        own = seen.own
        if own is not None and _answers(own, call):
            assert own.outcome is not None
            return own.outcome
        if own is not None and (told := _failure(own, call)) is not None:
            raise told
        attempt = Attempt(self._desk, call, step_type, seen.prepared, own, seen.org_id)
        if call.once:
            if own is not None and own.status is StepStatus.RUNNING and own.worker is not None:
                raise await attempt.failed(
                    StepError(
                        OUTCOME_UNKNOWN,
                        f"Step '{call.step}' may have taken effect and must not be repeated.",
                        retryable=False,
                    )
                )
            await attempt.begin()
        try:
            outcome = await attempt.run(seen.scope)
        except StepError as error:
            raise await attempt.failed(error) from error
        if call.poll and isinstance(outcome, Await):
            return outcome
        return await attempt.finished(outcome)

    async def _look(self, call: StepCall) -> _Seen:
        """Everything that the step needs to know, in one transaction when all is cached."""
        pinned = await self._scopes.version_of(call.run)
        if pinned is None:
            raise RunClosedError
        version = await self._definitions.get(*pinned)
        prepared = version.steps[call.step]
        places = prepared.places(call.iteration)

        def read(tx: Tx) -> tuple[RunFacts | None, dict[str, StepRow]]:
            rows = steps.some(tx, call.run, places | {call.step: call.place})
            return steps.run_facts(tx, call.run), rows

        facts, rows = await self._database.read(read)
        if facts is None or _closed(call, facts):
            raise RunClosedError
        if not _begun(rows.get(call.step), call):
            if facts.intent == Intent.PAUSE:
                # The signal may be late: it waits for the workflow task that local ones hold.
                raise PausingError
            if not facts.placed:
                # It gave its place back, and the answer that says so was lost with its worker.
                raise UnplacedError
        scope = await self._scopes.build(call, facts, prepared, rows)
        return _Seen(prepared, rows.get(call.step), scope, facts.org_id)


def _answers(own: StepRow, call: StepCall) -> bool:
    """Whether the row already holds what is asked for."""
    if own.generation != call.generation or own.outcome is None:
        return False
    return not (call.poll and isinstance(own.outcome, Await))


def _begun(own: StepRow | None, call: StepCall) -> bool:
    """Whether the step is under way or over, so that a pause comes too late for it."""
    if call.poll:
        return True
    if own is None or own.generation != call.generation:
        return False
    return (
        own.outcome is not None
        or own.status is StepStatus.RUNNING
        or _failure(own, call) is not None
    )


def _failure(own: StepRow, call: StepCall) -> StepError | None:
    """How this very attempt has failed already, if the answer was lost on the way to Temporal.

    The items of a loop are not answered so: a loop that is tried again asks for them as for the
    first time. How long the other side wants to be left alone is not in the row.
    """
    asked = (call.n, call.generation, call.attempt)
    if (
        call.iteration
        or (own.n, own.generation, own.attempt) != asked
        or "code" not in (own.error or {})
    ):
        return None
    match own.status:
        case StepStatus.FAILED | StepStatus.WAITING:
            assert own.error is not None
            retryable = own.status is StepStatus.WAITING
            return StepError(own.error["code"], own.error["message"], retryable=retryable)
        case _:
            return None


def _closed(call: StepCall, facts: RunFacts | None) -> bool:
    return (
        facts is None
        or facts.n != call.n
        or facts.status is not RunStatus.RUNNING
        or facts.intent == Intent.CANCEL
    )


def _quiet(message: str, kind: str, *details: dict[str, bool | float]) -> ApplicationError:
    """What the interpreter is told, and the SDK need not warn of."""
    return ApplicationError(
        message, *details, type=kind, non_retryable=True, category=ApplicationErrorCategory.BENIGN
    )


@contextlib.asynccontextmanager
async def _heartbeats(*, on: bool) -> AsyncGenerator[None, None]:
    """Heartbeat every second, so that a cancel arrives and a lost worker is noticed."""

    async def beat() -> None:
        while True:
            activity.heartbeat()
            await asyncio.sleep(1)

    task = asyncio.create_task(beat()) if on else None
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
