"""Starts by schedules, made by a Temporal Schedule as the API makes it."""

from datetime import UTC, datetime
from time import time
from typing import Any
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.schedule.v1 import SchedulePatch, TriggerImmediatelyRequest
from temporalio.api.workflowservice.v1 import PatchScheduleRequest
from temporalio.client import (
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
)

from engine.book import timer_id
from engine.lifecycle import RunStatus
from engine.schedule import Overlap
from store import runs, schedules
from store.database import Tx
from store.schedules import Terms
from tests.house import House
from tests.receiver import Receiver
from tests.workflow.definitions import flow, get
from tests.workflow.patience import until
from workflows.contract import RUN, RunInput


async def schedule(house: House, definition: dict[str, Any], overlap: Overlap) -> str:
    """The id of a schedule of a new workflow; Temporal has it too, paused."""
    workflow = await house.define(definition)
    terms = Terms("0 0 1 1 *", "UTC", {"by": "schedule"}, overlap, 60, True, None)

    def make(tx: Tx) -> str:
        return schedules.create(tx, house.org, workflow.id, terms).id

    schedule_id = await house.database.write(make)
    await house.client.create_schedule(
        timer_id(schedule_id),
        Schedule(
            action=ScheduleActionStartWorkflow(
                RUN,
                RunInput(run="", schedule=schedule_id),
                id=f"{timer_id(schedule_id)}/run",
                task_queue=house.queue,
            ),
            spec=ScheduleSpec(cron_expressions=["0 0 1 1 *"]),
            policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.ALLOW_ALL),
            state=ScheduleState(paused=True),
        ),
    )
    return schedule_id


#: No two starts are for the same second: Temporal would drop the later one.
_taken: set[int] = set()


async def trigger(house: House, schedule_id: str) -> tuple[str, str]:
    """The workflow id of a new start, and the id of the run that it is to be."""
    at = round(time())
    while at in _taken:
        at += 1
    _taken.add(at)
    patch = SchedulePatch(
        trigger_immediately=TriggerImmediatelyRequest(scheduled_time=Timestamp(seconds=at))
    )
    await house.client.workflow_service.patch_schedule(
        PatchScheduleRequest(
            namespace=house.client.namespace, schedule_id=timer_id(schedule_id), patch=patch
        )
    )
    name = f"{timer_id(schedule_id)}/run-{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
    found: list[str] = []

    async def made() -> bool:
        handle = house.client.get_schedule_handle(timer_id(schedule_id))
        for result in (await handle.describe()).info.recent_actions:
            if result.action.workflow_id == name:
                found.append(UUID(result.action.first_execution_run_id).hex)
        return bool(found)

    await until(made, "nothing is started")
    return name, found[0]


async def opened(house: House, run_id: str) -> str:
    """The id of the run, once there is a run."""

    async def there() -> bool:
        return await house.database.read(lambda tx: runs.by_id(tx, run_id)) is not None

    await until(there, "it does not become a run")
    return run_id


async def start_behind_a_resumed_run(house: House, receiver: Receiver) -> list[str]:
    """A start that waits until a run of its schedule, in its second execution, is over.

    The workflow ids of both starts.
    """
    schedule_id = await schedule(
        house, flow(get(receiver, "a", "/flaky/1/a", on_error="pause")), Overlap.BUFFER_ONE
    )
    first, run_id = await trigger(house, schedule_id)
    await house.until(await opened(house, run_id), RunStatus.PAUSED)
    # Resumed in the store, and its execution not begun yet.
    row = await house.resume_later(run_id)
    second, other = await trigger(house, schedule_id)

    async def looked() -> bool:
        events = (await house.client.get_workflow_handle(second).fetch_history()).events
        # A history that was begun anew after a look may have no timer of its own yet.
        return bool(
            events[0].workflow_execution_started_event_attributes.continued_execution_run_id
        ) or any(event.HasField("timer_fired_event_attributes") for event in events)

    await until(looked, "it does not wait")
    await house.dispatch(row)
    await house.until(run_id, RunStatus.COMPLETED)
    await house.until(await opened(house, other), RunStatus.COMPLETED)
    return [first, second]
