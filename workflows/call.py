"""`CallWorkflow`: one call of an activity that somebody else's worker carries out.

A step waits for it and may lose its own worker meanwhile; the next attempt finds the same call. A
failure that the activity reports ends the call: whether it is tried again is the interpreter's to
judge. An activity whose worker was lost is asked for again, within a bound.

The activity has the step's stable key as its id, whoever carries it out and however often.
"""

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutError, TimeoutType
from temporalio.workflow import ActivityCancellationType, ActivityHandle

with workflow.unsafe.imports_passed_through():
    from engine.foreign import CALL, WANTED, CallFailure, CallRef, ForeignCall
    from workflows import dispatch

#: Characters of a failure's message that are kept.
MESSAGE = 2_000
#: Pause before an activity whose worker was lost is asked for again.
AGAIN = timedelta(seconds=1)
#: Seconds until it is first asked whether a step still waits; then twice as long each time.
FIRST_LOOK, LAST_LOOK = 15.0, 900.0
#: How an activity reports that its worker was stopped, or that an operator stepped in.
_STOPPED = frozenset({"CancelledError", "ActivityPause", "ActivityReset"})


@workflow.defn(name=CALL)
class CallWorkflow:
    """Calls an activity until it answers or fails by itself."""

    @workflow.run
    async def run(self, call: ForeignCall) -> RawValue:
        """The activity's answer as it came, so that it is never larger than it was."""
        until = workflow.time() + call.timeout
        watching = asyncio.create_task(self._watch(call))
        try:
            for _ in range(dispatch.LOSSES):
                left = until - workflow.time()
                if left <= 0:
                    raise _failure(CallFailure(kind="timeout"))
                activity = self._start(call, left)
                try:
                    if not await _comes_first(activity, watching):
                        raise _failure(CallFailure(kind="unwanted"))
                    return activity.result()
                except ActivityError as error:
                    failure = _judged(error)
                    if failure is not None:
                        raise _failure(failure) from None
                await workflow.sleep(AGAIN)
            raise _failure(CallFailure(kind="lost"))
        finally:
            watching.cancel()

    def _start(self, call: ForeignCall, left: float) -> ActivityHandle[RawValue]:
        return workflow.start_activity(
            call.name,
            args=call.args,
            task_queue=call.task_queue,
            activity_id=call.key,
            result_type=RawValue,
            schedule_to_start_timeout=timedelta(seconds=min(call.start, left)),
            schedule_to_close_timeout=timedelta(seconds=left),
            heartbeat_timeout=timedelta(seconds=call.heartbeat) if call.heartbeat else None,
            retry_policy=RetryPolicy(maximum_attempts=1),
            # Nobody waits for what is not wanted; it hears of it when it heartbeats.
            cancellation_type=ActivityCancellationType.TRY_CANCEL,
        )

    async def _watch(self, call: ForeignCall) -> None:
        """Return when no step waits any more: its worker may have died before it could say so."""
        pause = FIRST_LOOK
        ref = CallRef(key=call.key, n=call.n, attempt=call.attempt)
        while True:
            await workflow.sleep(pause)
            if not await dispatch.ledger(WANTED, ref, bool):
                return
            pause = min(2 * pause, LAST_LOOK)


async def _comes_first(activity: ActivityHandle[RawValue], other: asyncio.Task[None]) -> bool:
    """Wait for the activity or the other task; the activity is cancelled unless it is over."""
    try:
        await workflow.wait([activity, other], return_when=asyncio.FIRST_COMPLETED)
        return activity.done()
    finally:
        if not activity.done():
            activity.cancel()
            await asyncio.gather(activity, return_exceptions=True)


def _judged(error: ActivityError) -> CallFailure | None:
    """How the activity has failed; None when its worker was lost."""
    match error.cause:
        case TimeoutError(type=TimeoutType.SCHEDULE_TO_START):
            return CallFailure(kind="not_started")
        case TimeoutError(type=TimeoutType.HEARTBEAT):
            return None
        case TimeoutError():
            return CallFailure(kind="timeout")
        case ApplicationError(type=kind) as cause if kind not in _STOPPED:
            return CallFailure(
                kind="reported",
                type=kind or "",
                message=cause.message[:MESSAGE],
                retryable=not cause.non_retryable,
            )
    return None


def _failure(failure: CallFailure) -> ApplicationError:
    return ApplicationError(
        f"The activity gave no answer: {failure.kind}.",
        failure,
        type=failure.kind,
        non_retryable=True,
    )
