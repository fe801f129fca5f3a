"""The wrapper round every step: the one place where a step meets Temporal and the store.

It answers from the journal what is already recorded, renders and validates the configuration, runs
the step inside its time, records what came of it, and turns that into what Temporal understands.
A failure of the step itself is never retried by Temporal: the interpreter decides about that.

    ApplicationError types of ours
    ├── MoveToOrdinary   the local activity takes long; its request goes on
    ├── RunClosed        the run is over, or being cancelled: nothing was done
    ├── StoreUnavailable the database does not answer
    ├── NotYet           a condition does not hold; asked again after its interval
    └── (a step's code)  the step failed; details: `{"retryable": bool}`
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import TypeVar

from pydantic import JsonValue, ValidationError
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.base import AnyStepType, Clients, StepContext
from activities.definitions import Definitions, Prepared, split
from activities.flights import Flight, Flights
from activities.scopes import Scopes
from engine.call import StepCall
from engine.errors import Conflict, StepError, Unavailable
from engine.expressions import ExpressionError, evaluate, render
from engine.facts import OUTCOME_UNKNOWN, Failure
from engine.lifecycle import Intent, RunStatus, StepStatus
from engine.outcomes import Answer, Await, Outcome, Skip, Sleep
from store import journal, steps, workers
from store.database import Database, Tx
from store.steps import RunFacts, StepRow

#: Seconds after which a local activity is handed over.
HAND_OVER = 1.5
#: Seconds that a short step runs before its start is recorded on its own.
_LAZY = 0.1
#: Seconds after which a worker that was not seen counts as gone.
_GONE = 10.0
#: Characters of an error that are kept.
_MESSAGE = 2_000

_log = logging.getLogger(__name__)
T = TypeVar("T")


class RunClosedError(Exception):
    """The run is over, or being cancelled."""


class Performer:
    """Carries out steps of every type; one for a worker process."""

    def __init__(
        self,
        database: Database,
        definitions: Definitions,
        scopes: Scopes,
        clients: Clients,
        worker: str,
    ) -> None:
        self._database = database
        self._definitions = definitions
        self._clients = clients
        self._worker = worker
        self._flights = Flights()
        self._scopes = scopes

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
            raise ApplicationError(
                error.message[:_MESSAGE],
                {"retryable": error.retryable},
                type=error.stable_code,
                non_retryable=True,
            ) from None
        except RunClosedError:
            raise ApplicationError(
                "The run is over.", type="RunClosed", non_retryable=True
            ) from None
        except Unavailable as error:
            raise ApplicationError(error.message, type="StoreUnavailable") from None
        if call.poll and isinstance(outcome, Await):
            raise ApplicationError(
                "The condition does not hold yet.",
                type="NotYet",
                next_retry_delay=timedelta(seconds=outcome.interval),
            )
        return Answer(outcome)

    async def _follow(self, call: StepCall, flight: Flight, *, hand_over: bool) -> Outcome:
        """Wait for the flight as this kind of activity may: for a while, or heartbeating."""
        flight.waiting += 1
        try:
            if call.local and hand_over:
                done, _ = await asyncio.wait({flight.task}, timeout=HAND_OVER)
                if not done:
                    raise ApplicationError(
                        "The step takes long.", type="MoveToOrdinary", non_retryable=True
                    )
                return flight.task.result()
            async with _heartbeats(on=not call.local):
                return await asyncio.shield(flight.task)
        except asyncio.CancelledError:
            flight.task.cancel()
            await asyncio.wait({flight.task})
            raise
        finally:
            flight.waiting -= 1

    async def _wait_elsewhere(self, call: StepCall) -> None:
        """Wait while the worker that handed the step over is still busy with it."""
        async with _heartbeats(on=True):
            while True:
                since = _micros(time.time() - _GONE)

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
        prepared, own, scope = await self._patiently(call, lambda: self._look(call))
        if own is not None and _answers(own, call):
            assert own.outcome is not None
            return own.outcome
        attempt = _Attempt(self, call, step_type, prepared, own)
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
            outcome = await attempt.run(scope)
        except StepError as error:
            raise await attempt.failed(error) from error
        if call.poll and isinstance(outcome, Await):
            return outcome
        return await attempt.finished(outcome)

    async def _look(self, call: StepCall) -> tuple[Prepared, StepRow | None, dict[str, JsonValue]]:
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
        scope = await self._scopes.build(call, facts, prepared, rows)
        return prepared, rows.get(call.step), scope

    async def _patiently(self, call: StepCall, work: Callable[[], Awaitable[T]]) -> T:
        """Do it; an ordinary activity waits for a database that does not answer."""
        while True:
            try:
                return await work()
            except Unavailable:
                if call.local:
                    raise
                _log.warning("step %s waits for the database", call.step)
                await asyncio.sleep(1)

    async def write(self, call: StepCall, work: Callable[[Tx], T]) -> T:
        """Write to the store, waiting for it where the activity may.

        Raises:
            RunClosedError: the run or the step is past this call.
        """
        try:
            return await self._patiently(call, lambda: self._database.write(work))
        except Conflict:
            raise RunClosedError from None

    @property
    def worker(self) -> str:
        """The name of this process in the rows it writes."""
        return self._worker

    @property
    def clients(self) -> Clients:
        """The seams that steps reach the world through."""
        return self._clients


class _Attempt:
    """One attempt of one step, from its configuration to its record."""

    def __init__(
        self,
        performer: Performer,
        call: StepCall,
        step_type: AnyStepType,
        prepared: Prepared,
        own: StepRow | None,
    ) -> None:
        self._performer = performer
        self._call = call
        self._type = step_type
        self._prepared = prepared
        self._begun = call.poll
        same = own is not None and own.generation == call.generation
        #: A poll and a repeated attempt go on from when the step first began.
        self._before = own.started_at if own is not None and same else None
        self._started_at = self._before or _micros(time.time())
        self._until = (
            own.outcome.until
            if own is not None and call.poll and isinstance(own.outcome, Await)
            else None
        )

    async def begin(self) -> None:
        """Record that the attempt began, once."""
        if self._begun:
            return
        self._begun = True
        await self._performer.write(
            self._call,
            lambda tx: journal.begin(tx, self._call, self._performer.worker, self._started_at),
        )

    async def run(self, scope: dict[str, JsonValue]) -> Outcome:
        """Do what the step does, inside its time."""
        step = self._prepared.step
        try:
            if step.when is not None and evaluate(step.when, scope) is not True:
                return Skip(reason="Its `when` is not true.")
            config = self._configure(scope)
        except ExpressionError as error:
            raise StepError("expression_failed", str(error), retryable=False) from error
        timeout = step.timeout or self._prepared.kind.timeout
        context = StepContext(
            key=self._call.key,
            step=step.id,
            attempt=self._call.attempt,
            timeout=timeout,
            now=self._call.now,
            began=self._before / 1_000_000 if self._before else self._call.now,
            clients=self._performer.clients,
            scope=scope,
            until=self._until,
        )
        work = asyncio.ensure_future(self._type.run(config, context))
        try:
            async with asyncio.timeout(timeout):
                if self._type.lane != "decides":
                    await asyncio.wait({work}, timeout=_LAZY if self._call.local else 0)
                    if not work.done():
                        await self.begin()
                return await work
        except TimeoutError:
            raise StepError("timeout", f"Step '{step.id}' took over {timeout:g} s.") from None
        except (StepError, RunClosedError, Unavailable):
            raise
        except Exception as error:
            # A defect of a step type must not look like a lost worker and be tried for ever.
            _log.exception("step type %s raised", step.type)
            raise StepError("internal_error", f"{type(error).__name__} in {step.type}") from error
        finally:
            if not work.done():
                work.cancel()
                await asyncio.wait({work})

    def _configure(self, scope: dict[str, JsonValue]) -> object:
        step, kind = self._prepared.step, self._prepared.kind
        templates, expressions = split(step, kind)
        rendered = render(templates, scope)
        assert isinstance(rendered, dict)
        raw = {**rendered, **expressions}
        if kind.body is not None:
            raw[kind.body] = step.config[kind.body]
        try:
            return self._type.config.model_validate(raw)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "config"
            raise StepError(
                "config_invalid", f"Step '{step.id}': {where}: {first['msg']}", retryable=False
            ) from None

    def _attempted(self, outcome: Outcome | None = None) -> journal.Attempted:
        at = self._started_at
        if isinstance(outcome, Sleep | Await) and not self._before:
            # A wait goes by the clock of the timer that ends it.
            at = _micros(self._call.now)
        return journal.Attempted(self._performer.worker, at, self._begun)

    async def finished(self, outcome: Outcome) -> Outcome:
        """Record the outcome; what is recorded is what counts."""
        call, performer = self._call, self._performer
        try:
            await performer.write(
                call, lambda tx: journal.finish(tx, call, outcome, self._attempted(outcome))
            )
        except StepError as error:
            raise await self.failed(error) from error
        return outcome

    async def failed(self, error: StepError) -> StepError:
        """Record the failure and give it back."""
        call, performer = self._call, self._performer
        failure = Failure(
            code=error.stable_code,
            message=error.message[:_MESSAGE],
            step=call.step,
            retryable=error.retryable,
        )
        await performer.write(
            call,
            lambda tx: journal.fail(tx, call, failure, self._attempted()),
        )
        return error


def _answers(own: StepRow, call: StepCall) -> bool:
    """Whether the row already holds what is asked for."""
    if own.generation != call.generation or own.outcome is None:
        return False
    return not (call.poll and isinstance(own.outcome, Await))


def _closed(call: StepCall, facts: RunFacts | None) -> bool:
    return (
        facts is None
        or facts.n != call.n
        or facts.status is not RunStatus.RUNNING
        or facts.intent == Intent.CANCEL
    )


def _micros(seconds: float) -> int:
    return int(seconds * 1_000_000)


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
