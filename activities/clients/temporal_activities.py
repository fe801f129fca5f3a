"""Calls activities that somebody else's workers carry out, in any language, on any task queue.

TemporalActivities.call
  refuse    task queues that are not for workflows: our own, Temporal's, those not allowed
  start     `workflows.call`, or find the call that an earlier attempt has started
  wait      for its answer; whoever is cancelled meanwhile cancels it, unless it only leaves
"""

import asyncio
import contextlib
import json
import re
from fnmatch import fnmatchcase

from pydantic import JsonValue, ValidationError
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import RawValue, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from engine.errors import StepError
from engine.facts import OUTCOME_UNKNOWN
from engine.foreign import CALL, CallFailure, ForeignCall

#: Bytes of JSON. Temporal refuses 2 MiB, and a call is written down twice.
LARGEST_INPUT = 3 << 19
#: Seconds in which a cancelled call has to end.
_CANCELLING = 5.0
#: Task queues of the server's own; one of them is a way to name a part of any other.
_SYSTEM = ("/_sys/", "temporal-sys-")
#: What Temporal answers when the request itself can never succeed.
_REFUSED = frozenset(
    {
        RPCStatusCode.INVALID_ARGUMENT,
        RPCStatusCode.PERMISSION_DENIED,
        RPCStatusCode.UNAUTHENTICATED,
        RPCStatusCode.UNIMPLEMENTED,
        RPCStatusCode.FAILED_PRECONDITION,
    }
)
_JSON = frozenset({b"json/plain", b"json/protobuf"})
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")


class TemporalActivities:
    """Calls activities through the worker's own client, in its namespace."""

    def __init__(self, client: Client, own_queue: str, allowed: str = "*") -> None:
        """Call from a worker.

        Args:
            client: the worker's.
            own_queue: the worker's task queue, whose activities trust whoever calls them.
            allowed: patterns of the task queues that may be called, separated by commas.
        """
        self._client = client
        self._own_queue = own_queue
        self._allowed = [pattern.strip() for pattern in allowed.split(",")]
        self._leaving = False

    def leave(self) -> None:
        """From now on a call whose caller is cancelled goes on: another worker will wait for it."""
        self._leaving = True

    async def call(self, call: ForeignCall) -> JsonValue:
        """The activity's answer; a call that was started for the same attempt is the same call.

        Raises:
            StepError: `task_queue_refused`, `input_too_large`, `input_invalid`,
                `activity_refused`, `activity_not_started`, `activity_lost`, `activity_cancelled`,
                `timeout`, `output_too_large`, `output_invalid`, or what the activity reports.
        """
        self._check(call)
        try:
            while True:
                try:
                    handle = await self._start(call)
                    return _decoded(await handle.result())
                except WorkflowFailureError as error:
                    raise _told(error.cause, call) from None
                except RPCError as error:
                    if error.status in _REFUSED:
                        raise StepError(
                            "activity_refused",
                            f"Temporal refuses the call: {error.message[:200]}",
                            retryable=False,
                        ) from None
                    # Temporal is away, or has forgotten the call.
                    await asyncio.sleep(1)
        except asyncio.CancelledError:
            if not self._leaving:
                await self._cancel(call)
            raise

    def _check(self, call: ForeignCall) -> None:
        queue = call.task_queue
        reason = None
        if queue == self._own_queue or queue.startswith(_SYSTEM):
            reason = "its activities are not for workflows"
        elif not any(fnmatchcase(queue, pattern) for pattern in self._allowed):
            reason = "SIGNALBOX_ACTIVITY_QUEUES does not allow it"
        if reason is not None:
            raise StepError(
                "task_queue_refused",
                f"Task queue '{queue}' cannot be called: {reason}.",
                retryable=False,
            )
        try:
            size = sum(
                len(json.dumps(arg, ensure_ascii=False, allow_nan=False).encode())
                for arg in call.args
            )
        except ValueError:
            raise StepError(
                "input_invalid",
                "The input holds NaN, an infinity or half of a surrogate pair.",
                retryable=False,
            ) from None
        if size > LARGEST_INPUT:
            raise StepError(
                "input_too_large",
                f"The input of activity '{call.name}' is {size:,} bytes; the limit is "
                f"{LARGEST_INPUT:,}. Store it elsewhere and pass a reference on.",
                retryable=False,
            )

    async def _start(self, call: ForeignCall) -> WorkflowHandle[object, RawValue]:
        handle: WorkflowHandle[object, RawValue] = self._client.get_workflow_handle(
            call.id, result_type=RawValue
        )
        # One that is over is found there with its answer or its failure.
        with contextlib.suppress(WorkflowAlreadyStartedError):
            await self._client.start_workflow(
                CALL,
                call,
                id=call.id,
                task_queue=self._own_queue,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            )
        return handle

    async def _cancel(self, call: ForeignCall) -> None:
        """Cancel the call and see that it ends; the call itself finds out what is missed here."""
        handle = self._client.get_workflow_handle(call.id)
        with contextlib.suppress(RPCError, WorkflowFailureError, TimeoutError):
            async with asyncio.timeout(_CANCELLING):
                await handle.cancel()
                await handle.result()


def _decoded(answer: RawValue) -> JsonValue:
    payload = answer.payload
    encoding = payload.metadata.get("encoding", b"")
    if encoding == b"binary/null":
        return None
    try:
        if encoding in _JSON:
            value: JsonValue = json.loads(payload.data)
            return value
    except (ValueError, RecursionError):
        pass
    raise StepError(
        "output_invalid",
        f"The activity answered with {encoding.decode('ascii', 'replace')[:40]}, not with JSON.",
        retryable=False,
    )


def _told(cause: BaseException, call: ForeignCall) -> StepError:
    """What the end of a call means for the step."""
    try:
        details = cause.details if isinstance(cause, ApplicationError) else ()
        failure = CallFailure.model_validate(details[0]) if details else None
    except ValidationError:
        failure = None
    what = f"activity '{call.name}' on task queue '{call.task_queue}'"
    match failure:
        case CallFailure(kind="reported", type="PayloadsTooLarge"):
            return StepError(
                "output_too_large",
                f"The answer of {what} is larger than Temporal carries. "
                "Store it elsewhere and answer with a reference.",
                retryable=False,
            )
        case CallFailure(kind="reported"):
            return StepError(
                code_of(failure.type),
                failure.message or f"The {what} failed.",
                retryable=failure.retryable,
            )
        case CallFailure(kind="not_started"):
            return StepError(
                "activity_not_started", f"No worker took {what} within {call.start:g} s."
            )
        case CallFailure(kind="timeout"):
            return StepError("timeout", f"The {what} took over {call.timeout:g} s.")
        case CallFailure(kind="lost"):
            return StepError(
                "activity_lost",
                f"The workers of {what} were lost again and again.",
                retryable=False,
            )
    return StepError(
        "activity_cancelled", f"The call of {what} was ended in Temporal.", retryable=False
    )


def code_of(kind: str) -> str:
    """A failure's type as a step's code, as in `card_declined` for `com.acme.CardDeclined`.

    What does not fit is `activity_failed`, and so is what means something to the interpreter.
    """
    code = _HUMP.sub("_", kind.rpartition(".")[2]).lower()
    if not _CODE.fullmatch(code) or code == OUTCOME_UNKNOWN:
        return "activity_failed"
    return code


def check_patterns(allowed: str) -> str:
    """See that a setting names task queues.

    Raises:
        ValueError: it does not.
    """
    if not all(pattern.strip() for pattern in allowed.split(",")):
        raise ValueError("names of task queues, separated by commas; `*` stands for any text")
    return allowed
