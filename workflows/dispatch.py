"""How the interpreter reaches activities: which lane, which bounds, and what a failure means.

Temporal's own retries carry the bound for lost workers only. A failure that a step reports arrives
as a non-retryable error and is the interpreter's to judge. A local activity that fails raises its
error bare, one that times out raises another type live than on replay: hence `_unwrap`.
"""

import asyncio
from datetime import timedelta
from typing import TypeVar

from pydantic import BaseModel
from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    FailureError,
)
from temporalio.workflow import ActivityCancellationType

from engine.batch import WINDOW, WindowCall, WindowDone
from engine.call import StepCall
from engine.facts import OUTCOME_UNKNOWN, Failure
from engine.outcomes import Answer
from engine.plan import PlannedStep
from workflows.versions import CANCELLED_IS_OVER, gate

R = TypeVar("R")

#: How many times a step is attempted again because its worker was lost.
LOSSES = 20
#: Seconds after which a worker that does not heartbeat counts as lost.
HEARTBEAT = timedelta(seconds=5)
#: A local activity that takes longer than this is stuck: it should have been handed over.
LOCAL = timedelta(seconds=20)
#: What a window of lanes may take, each attempt of it: its steps have their own bounds.
LONGEST_WINDOW = timedelta(days=30)
#: Added to a step's own time, which the wrapper enforces.
GRACE = timedelta(seconds=30)

#: Failures of a local activity that say nothing about the step.
_NOT_THE_STEPS = frozenset({"MoveToOrdinary", "StoreUnavailable", "Lost"})


class Unrecorded(Failure):
    """A failure that the step's row does not tell of: nobody was left to write it."""


async def ledger(name: str, arg: BaseModel, result: type[R]) -> R:
    """Call the ledger, for as long as it takes: a database that is away only delays the run.

    Raises:
        asyncio.CancelledError: whoever calls was cancelled meanwhile; what was called may go on.
    """
    try:
        answer: R = await workflow.execute_local_activity(
            name,
            arg,
            result_type=result,
            start_to_close_timeout=LOCAL,
            retry_policy=RetryPolicy(
                initial_interval=timedelta(seconds=0.5), maximum_interval=timedelta(seconds=10)
            ),
            cancellation_type=ActivityCancellationType.ABANDON,
        )
    except ActivityError as error:
        # Everybody looks for the other one, as it is raised at any other place. It needs no gate:
        # an execution that did not look for this one has ended with it.
        if isinstance(error.cause, CancelledError):
            raise asyncio.CancelledError from error
        raise
    return answer


async def step(planned: PlannedStep, call: StepCall) -> Answer | Failure:
    """Carry out one attempt of a step, on whichever lane it belongs to.

    Raises:
        asyncio.CancelledError: it was cancelled, on a lane or between the two.
    """
    if call.local:
        answer = await _local(planned, call)
        if isinstance(answer, Answer) or answer.code not in _NOT_THE_STEPS:
            return answer
        # The answer of an activity may cross the cancel that it is told of, and then it counts.
        task = asyncio.current_task()
        if task is not None and task.cancelling() and gate() >= CANCELLED_IS_OVER:
            raise asyncio.CancelledError
        call = call.model_copy(update={"local": False, "moved": True})
    return await _ordinary(planned, call)


async def _local(planned: PlannedStep, call: StepCall) -> Answer | Failure:
    try:
        answer: Answer = await workflow.execute_local_activity(
            planned.type,
            call,
            result_type=Answer,
            start_to_close_timeout=LOCAL,
            retry_policy=RetryPolicy(maximum_attempts=1),
            cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
    except FailureError as error:
        return _unwrap(error, call)
    return answer


async def _ordinary(planned: PlannedStep, call: StepCall) -> Answer | Failure:
    policy = RetryPolicy(
        initial_interval=timedelta(seconds=1),
        backoff_coefficient=1.5,
        maximum_interval=timedelta(seconds=10),
        # Asking has no effect, so it is repeated for ever, whatever the step's own effect is.
        maximum_attempts=0 if call.poll else 1 if call.once else LOSSES,
        non_retryable_error_types=["PayloadsTooLarge"],
    )
    try:
        answer: Answer = await workflow.execute_activity(
            planned.type,
            call,
            result_type=Answer,
            # One poll answers at once; how long it is repeated is the wait's own affair.
            start_to_close_timeout=LOCAL if call.poll else _whole(planned),
            heartbeat_timeout=HEARTBEAT,
            retry_policy=policy,
            cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
    except FailureError as error:
        return _unwrap(error, call)
    return answer


async def window(call: WindowCall) -> WindowDone | Failure:
    """Carry out a window of lanes, for as long as it takes."""
    try:
        done: WindowDone = await workflow.execute_activity(
            WINDOW,
            call,
            result_type=WindowDone,
            start_to_close_timeout=LONGEST_WINDOW,
            heartbeat_timeout=HEARTBEAT,
            retry_policy=RetryPolicy(
                initial_interval=timedelta(seconds=1),
                backoff_coefficient=1.5,
                maximum_interval=timedelta(seconds=10),
                maximum_attempts=LOSSES,
            ),
            cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
    except FailureError as error:
        return _lost(error)
    return done


def _lost(error: FailureError) -> Failure:
    """Why a window could not be carried out.

    Raises:
        asyncio.CancelledError: it is no failure: it was cancelled.
    """
    cause = error.cause if isinstance(error, ActivityError) else error
    if isinstance(cause, CancelledError):
        raise asyncio.CancelledError from error
    return Failure(
        code="worker_lost",
        message="A window of entities was lost with its worker, again and again.",
        retryable=False,
    )


def _whole(planned: PlannedStep) -> timedelta:
    return timedelta(seconds=planned.timeout) + GRACE


def _unwrap(error: FailureError, call: StepCall) -> Failure:
    """What the failure means for the step.

    Raises:
        asyncio.CancelledError: it is no failure: the step was cancelled.
    """
    cause = error.cause if isinstance(error, ActivityError) else error
    if isinstance(cause, CancelledError):
        raise asyncio.CancelledError from error
    if isinstance(cause, ApplicationError):
        code = cause.type or "step_failed"
        details = cause.details[0] if cause.details else None
        if not isinstance(details, dict):
            return Unrecorded(code=code, message=cause.message, step=call.step, retryable=False)
        retryable = bool(details.get("retryable"))
        return Failure(
            code=code,
            message=cause.message,
            step=call.step,
            retryable=retryable,
            retry_after=details.get("retry_after"),
        )
    return Unrecorded(
        code=OUTCOME_UNKNOWN if call.once else "Lost" if call.local else "worker_lost",
        message="The worker was lost before the step answered.",
        step=call.step,
        retryable=False,
    )
