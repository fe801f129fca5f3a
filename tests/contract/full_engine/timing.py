"""What the tests of schedules have in common."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx2
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.workflowservice.v1 import ListScheduleMatchingTimesRequest
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleDescription,
    ScheduleHandle,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
)

from tests.contract.full_engine.definitions import QUIET

#: From the published page.
PUBLISHED: dict[str, Any] = {
    "cron_expression": "0 9 * * 1-5",
    "timezone": "America/New_York",
    "input_data": {"report": "daily"},
}


async def create(api: httpx2.AsyncClient, definition: dict[str, Any] = QUIET, **more: Any) -> str:
    """The id of a new workflow."""
    answer = await api.post("/api/workflows", json={"definition": definition, **more})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def scheduled(api: httpx2.AsyncClient, workflow_id: str = "", **terms: Any) -> str:
    """The address of a new schedule, paused unless the terms say something else."""
    workflow_id = workflow_id or await create(api)
    answer = await api.post(
        f"/api/workflows/{workflow_id}/schedules", json={**PUBLISHED, "paused": True, **terms}
    )
    assert answer.status_code == 201, answer.text
    return str(answer.headers["location"])


async def read(api: httpx2.AsyncClient, address: str) -> dict[str, Any]:
    answer = await api.get(address)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["schedule"]
    return found


def handle_of(client: Client, address: str) -> ScheduleHandle:
    return client.get_schedule_handle(f"sched/{address.rpartition('sched_')[2]}")


async def in_temporal(client: Client, address: str) -> ScheduleDescription:
    return await handle_of(client, address).describe()


async def runs_of(
    api: httpx2.AsyncClient, workflow_id: str, count: int, *states: str
) -> list[dict[str, Any]]:
    """The workflow's runs, newest first, once there are so many in one of these states."""
    async with asyncio.timeout(60):
        while True:
            answer = await api.get(f"/api/workflows/{workflow_id}/runs?limit=200")
            runs: list[dict[str, Any]] = answer.json()["runs"]
            assert len(runs) <= count, runs
            if sum(run["status"] in (states or ("completed",)) for run in runs) == count:
                return runs
            await asyncio.sleep(0.05)


async def keep(client: Client, name: str, spec: ScheduleSpec) -> None:
    """A paused Schedule of the test's own with these times, made or changed."""
    wanted = Schedule(
        action=ScheduleActionStartWorkflow("none", id="none", task_queue="none"),
        spec=spec,
        state=ScheduleState(paused=True),
    )
    try:
        await client.create_schedule(name, wanted)
    except ScheduleAlreadyRunningError:
        await client.get_schedule_handle(name).update(lambda _: ScheduleUpdate(wanted))


async def matching(client: Client, name: str, start: datetime, end: datetime) -> list[str]:
    """The server's own matching times, without the first moment: 1,000 at most."""
    answer = await client.workflow_service.list_schedule_matching_times(
        ListScheduleMatchingTimesRequest(
            namespace=client.namespace,
            schedule_id=name,
            start_time=_stamp(start),
            end_time=_stamp(end),
        )
    )
    return [f"{time.ToDatetime(UTC):%Y-%m-%dT%H:%M:%SZ}" for time in answer.start_time]


def _stamp(time: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(time)
    return made
