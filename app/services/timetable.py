"""What Temporal is told and asked about schedules.

Temporal keeps one of its Schedules for each of ours, under an id made of ours. It is told when to
start, which is no secret, and which schedule that is; what a run starts with stays in the store.
Each of ours has the task queue in its memo, so that deployments can share a namespace. Everything
here may fail and may be repeated. Source: DESIGN §3, "Schedules"; decision 0011.
"""

import asyncio
from collections.abc import Awaitable, Collection
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.schedule.v1 import SchedulePatch, TriggerImmediatelyRequest
from temporalio.api.workflowservice.v1 import ListScheduleMatchingTimesRequest, PatchScheduleRequest
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleBackfill,
    ScheduleCalendarSpec,
    ScheduleHandle,
    ScheduleListDescription,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
)
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from app.services.dispatch import PATIENCE, UNREACHABLE
from engine.book import timer_id
from engine.errors import Invalid, Unavailable
from engine.schedule import Overlap, parse_cron, ranges
from store import schedules
from store.clock import SECOND
from store.database import Database
from store.schedules import ScheduleRow
from workflows.contract import RUN, TASK_TIMEOUT, RunInput

T = TypeVar("T")

_RPC_TIMEOUT = timedelta(seconds=PATIENCE)
#: The memo that says whose a Schedule is: the value is the task queue.
MARK = "signalbox"
#: How often a schedule may have come, or gone, between two calls.
_ATTEMPTS = 5
#: What every id of ours begins with.
_PREFIX = timer_id("")
#: Times that Temporal answers at most in one call.
MOST_TIMES = 1_000


class Timetable:
    """The API's voice towards Temporal's schedules."""

    def __init__(self, client: Client, task_queue: str, database: Database) -> None:
        self._client = client
        self._task_queue = task_queue
        self._database = database

    async def tell(self, schedule_id: str) -> None:
        """Make Temporal's schedule what the store says, whatever it is now.

        Whoever has told an older revision finds out and tells the newest, so however many do this
        at the same time, the last word is the newest one.

        Raises:
            Unavailable: Temporal does not answer.
            Invalid: Temporal does not take these times.
        """
        made = False
        while True:
            row = await self._database.read(lambda tx: schedules.by_id(tx, schedule_id))
            if row is None:
                if made:
                    # Others have deleted it, here and there, before we made it again.
                    await self.forget(schedule_id)
                return
            made = not row.over
            if row.over:
                await self.forget(row.id)
            else:
                await self._put(row)
            if await self._database.write(partial(schedules.told, row=row)):
                return

    async def _put(self, row: ScheduleRow) -> None:
        wanted = self._wanted(row)
        for _ in range(_ATTEMPTS):
            try:
                # The whole of it: what is added to a spec fires beside what was there.
                await _reach(
                    self._handle(row.id).update(
                        lambda _: ScheduleUpdate(wanted), rpc_timeout=_RPC_TIMEOUT
                    )
                )
                return
            except NotThere:
                pass
            try:
                await _reach(
                    self._client.create_schedule(
                        timer_id(row.id),
                        wanted,
                        memo={MARK: self._task_queue},
                        rpc_timeout=_RPC_TIMEOUT,
                    )
                )
                return
            except ScheduleAlreadyRunningError:
                continue
        raise Unavailable("Temporal's schedule comes and goes.")

    async def forget(self, schedule_id: str) -> None:
        """Delete Temporal's schedule; one that is not there is as good.

        Raises:
            Unavailable: Temporal does not answer.
        """
        try:
            await _reach(self._handle(schedule_id).delete(rpc_timeout=_RPC_TIMEOUT))
        except NotThere:
            return

    async def is_as_told(self, row: ScheduleRow) -> bool:
        """Whether Temporal's schedule is there and is what it was told to be.

        Raises:
            Unavailable: Temporal does not answer.
        """
        try:
            found = (await _reach(self._handle(row.id).describe(rpc_timeout=_RPC_TIMEOUT))).schedule
        except NotThere:
            return False
        wanted = self._wanted(row)
        return (found.spec, found.policy, found.state) == (
            wanted.spec,
            wanted.policy,
            wanted.state,
        ) and await self._essence(found) == await self._essence(wanted)

    async def _essence(self, schedule: Schedule) -> tuple[Any, ...]:
        """What matters of a schedule's action, written or read back."""
        action = schedule.action
        if not isinstance(action, ScheduleActionStartWorkflow):
            return ()
        args = list(action.args)
        if not (args and isinstance(args[0], RunInput)):
            args = await self._client.data_converter.decode(args, [RunInput])
        return (action.workflow, action.id, action.task_queue, action.task_timeout, args)

    async def next_time(self, row: ScheduleRow) -> int | None:
        """When it fires next, in microseconds UTC.

        Raises:
            NotThere: Temporal does not have it.
            Unavailable: Temporal does not answer.
        """
        found = await _reach(self._handle(row.id).describe(rpc_timeout=_RPC_TIMEOUT))
        times = found.info.next_action_times
        return _micros(times[0]) if times else None

    async def times(self, row: ScheduleRow, after: int, until: int) -> list[int]:
        """The times of the schedule after the one and up to the other, `MOST_TIMES` at most.

        All are microseconds UTC. A pause makes no difference.

        Raises:
            NotThere: Temporal does not have it.
            Unavailable: Temporal does not answer.
        """
        request = ListScheduleMatchingTimesRequest(
            namespace=self._client.namespace,
            schedule_id=timer_id(row.id),
            start_time=_timestamp(after),
            end_time=_timestamp(until),
        )
        answer = await _reach(
            self._client.workflow_service.list_schedule_matching_times(
                request, timeout=_RPC_TIMEOUT
            ),
            # Of one that was deleted before it had begun to work.
            missing=(RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION),
        )
        return [_micros(time.ToDatetime(UTC)) for time in answer.start_time]

    async def trigger(self, row: ScheduleRow, at: int) -> None:
        """Make a start now, as if it were due at this time (microseconds UTC, a whole second).

        Raises:
            NotThere: Temporal does not have it.
            Unavailable: Temporal does not answer.
        """
        request = PatchScheduleRequest(
            namespace=self._client.namespace,
            schedule_id=timer_id(row.id),
            patch=SchedulePatch(
                trigger_immediately=TriggerImmediatelyRequest(scheduled_time=_timestamp(at))
            ),
            identity=self._client.identity,
            request_id=str(uuid4()),
        )
        await _reach(self._client.workflow_service.patch_schedule(request, timeout=_RPC_TIMEOUT))

    async def start(self, row: ScheduleRow) -> None:
        """Make the one start of a schedule that Temporal may have missed; made twice it is one.

        Temporal may have come to know of it when its time was over, and makes no such start.

        Raises:
            Unavailable: Temporal does not answer.
        """
        assert row.run_at is not None
        with suppress(WorkflowAlreadyStartedError):
            await _reach(
                self._client.start_workflow(
                    RUN,
                    RunInput(run="", schedule=row.id),
                    id=f"{_started_id(row)}-{_name(row.run_at)}",
                    task_queue=self._task_queue,
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                    task_timeout=timedelta(seconds=TASK_TIMEOUT),
                    rpc_timeout=_RPC_TIMEOUT,
                )
            )

    async def backfill(self, row: ScheduleRow, first: int, last: int, overlap: Overlap) -> None:
        """Make the starts of all times from the first to the last (microseconds UTC).

        Raises:
            NotThere: Temporal does not have it.
            Unavailable: Temporal does not answer.
        """
        # Whether a range holds its own beginning has changed in Temporal before.
        wanted = ScheduleBackfill(
            start_at=_datetime(first - SECOND),
            end_at=_datetime(last),
            overlap=_policy(overlap),
        )
        await _reach(self._handle(row.id).backfill(wanted, rpc_timeout=_RPC_TIMEOUT))

    async def ours(self, token: bytes | None, size: int) -> tuple[list[str], bytes | None]:
        """Ids of schedules of this deployment that Temporal has, and what the next page begins at.

        Raises:
            Unavailable: Temporal does not answer.
        """
        found = await _reach(
            self._client.list_schedules(
                page_size=size, next_page_token=token, rpc_timeout=_RPC_TIMEOUT
            )
        )
        await _reach(found.fetch_next_page())
        ids = [
            entry.id.removeprefix(_PREFIX)
            for entry in found.current_page or ()
            if await self._is_ours(entry)
        ]
        return ids, found.next_page_token or None

    async def _is_ours(self, entry: ScheduleListDescription) -> bool:
        if not entry.id.startswith(_PREFIX):
            return False
        return (await entry.memo()).get(MARK) == self._task_queue

    def _wanted(self, row: ScheduleRow) -> Schedule:
        terms = row.terms
        return Schedule(
            action=ScheduleActionStartWorkflow(
                RUN,
                RunInput(run="", schedule=row.id),
                id=_started_id(row),
                task_queue=self._task_queue,
                task_timeout=timedelta(seconds=TASK_TIMEOUT),
            ),
            spec=spec(terms.cron_expression, terms.timezone)
            if row.run_at is None
            else moment(row.run_at),
            policy=SchedulePolicy(
                overlap=_policy(terms.overlap),
                catchup_window=timedelta(seconds=terms.catchup_window),
            ),
            state=ScheduleState(paused=not row.enabled),
        )

    def _handle(self, schedule_id: str) -> ScheduleHandle:
        return self._client.get_schedule_handle(timer_id(schedule_id))


def _started_id(row: ScheduleRow) -> str:
    """The id of what it starts; Temporal appends the time: 63 characters in all."""
    return f"{timer_id(row.id)}/run"


def spec(text: str, zone: str) -> ScheduleSpec:
    """The times as a calendar, which Temporal gives back as it was sent; the text is its comment.

    A cron expression is compiled by the server and not given back, so nobody could compare it.
    """
    cron = parse_cron(text)
    return ScheduleSpec(
        calendars=[
            ScheduleCalendarSpec(
                second=_ranges((0,)),
                minute=_ranges(cron.minutes),
                hour=_ranges(cron.hours),
                day_of_month=_ranges(cron.days),
                month=_ranges(cron.months),
                year=(),
                day_of_week=_ranges(cron.weekdays),
                comment=text,
            )
        ],
        time_zone_name=zone,
    )


def moment(micros: int) -> ScheduleSpec:
    """One time, a whole second."""
    at = _datetime(micros)
    parts = (at.second, at.minute, at.hour, at.day, at.month, at.year)
    second, minute, hour, day, month, year = (_ranges((part,)) for part in parts)
    return ScheduleSpec(
        calendars=[
            ScheduleCalendarSpec(
                second=second,
                minute=minute,
                hour=hour,
                day_of_month=day,
                month=month,
                year=year,
                comment=_name(micros),
            )
        ],
        time_zone_name="UTC",
    )


def _name(micros: int) -> str:
    """A time as Temporal appends it to the id of what it starts."""
    return f"{_datetime(micros):%Y-%m-%dT%H:%M:%SZ}"


def _ranges(values: tuple[int, ...]) -> tuple[ScheduleRange, ...]:
    return tuple(ScheduleRange(first, last) for first, last in ranges(values))


def _policy(overlap: Overlap) -> ScheduleOverlapPolicy:
    return ScheduleOverlapPolicy[overlap.name]


def _timestamp(micros: int) -> Timestamp:
    made = Timestamp()
    made.FromMicroseconds(micros)
    return made


def _datetime(micros: int) -> datetime:
    return datetime.fromtimestamp(micros // SECOND, UTC)


def _micros(time: datetime) -> int:
    return round(time.timestamp()) * SECOND


class NotThere(Unavailable):
    """Temporal does not have the schedule."""


async def _reach(
    call: Awaitable[T], missing: Collection[RPCStatusCode] = (RPCStatusCode.NOT_FOUND,)
) -> T:
    """Wait for Temporal, with a bound of our own: a first connection knows none."""
    try:
        return await asyncio.wait_for(call, PATIENCE)
    except RPCError as error:
        if error.status in missing:
            raise NotThere("Temporal does not have the schedule yet.") from error
        if error.status is RPCStatusCode.INVALID_ARGUMENT:
            raise Invalid("Temporal does not take the times of the schedule.") from error
        raise Unavailable(f"Temporal does not answer: {error.status.name}.") from error
    except UNREACHABLE as error:
        raise Unavailable("Temporal does not answer.") from error
