"""Terminating and deleting runs over HTTP, also while Temporal or the workers are away."""

import asyncio

import httpx2
import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from app.settings import Settings
from store import runs
from store.runs import RunRow
from tests.contract.conftest import Door, running
from tests.contract.full_engine.definitions import PATIENT, QUIET, create_and_run, until
from tests.contract.full_engine.test_stream import everything


async def row_of(door: Door, run_id: str) -> RunRow:
    row = await door.database.read(lambda tx: runs.by_id(tx, run_id.removeprefix("run_")))
    assert row is not None
    return row


async def temporal_status(temporal: str, door: Door, run_id: str) -> WorkflowExecutionStatus | None:
    client = await Client.connect(temporal)
    row = await row_of(door, run_id)
    return (await client.get_workflow_handle(row.temporal_id).describe()).status


async def test_a_run_is_terminated_although_no_worker_is_there(
    api: httpx2.AsyncClient, door: Door, temporal: str
) -> None:
    run_id = await create_and_run(api, PATIENT)
    url = f"/api/workflows/runs/{run_id}"
    for _ in range(2):
        answer = await api.post(f"{url}/terminate")
        assert answer.status_code == 200
        assert answer.json() == {"run_id": run_id, "status": "cancelled", "intent": None}
    status = await temporal_status(temporal, door, run_id)
    assert status is WorkflowExecutionStatus.TERMINATED
    run = await until(api, run_id, "cancelled")
    assert {step["status"] for step in run["step_runs"]} == {"cancelled"}


@pytest.mark.usefixtures("worker")
async def test_a_running_run_is_terminated_with_its_steps(
    live: httpx2.AsyncClient, door: Door, temporal: str
) -> None:
    run_id = await create_and_run(live, PATIENT)
    async with asyncio.timeout(30):
        while (await until(live, run_id, "running"))["step_runs"][1]["status"] != "running":
            await asyncio.sleep(0.02)
    following = asyncio.create_task(everything(live, run_id))
    answer = await live.post(f"/api/workflows/runs/{run_id}/terminate")
    assert answer.json()["status"] == "cancelled"
    run = await until(live, run_id, "cancelled")
    states = [step["status"] for step in run["step_runs"]]
    assert states == ["completed", "cancelled", "cancelled"]
    told = await following
    assert [event.type for event in told[-2:]] == ["step_cancelled", "run_completed"]
    assert told[-1].data["status"] == "cancelled"
    status = await temporal_status(temporal, door, run_id)
    assert status is WorkflowExecutionStatus.TERMINATED
    # It can be taken up again, as any cancelled run.
    assert (await live.post(f"/api/workflows/runs/{run_id}/resume")).status_code == 202
    await until(live, run_id, "running")
    await live.post(f"/api/workflows/runs/{run_id}/terminate")
    ends = [e.type for e in await everything(live, run_id) if e.type == "run_completed"]
    assert len(ends) == 2


@pytest.mark.usefixtures("worker")
async def test_what_has_completed_is_not_terminated(api: httpx2.AsyncClient) -> None:
    run_id = await create_and_run(api, QUIET)
    await until(api, run_id, "completed")
    answer = await api.post(f"/api/workflows/runs/{run_id}/terminate")
    assert (answer.status_code, answer.json()["error"]) == (409, "conflict")


async def test_temporal_hears_of_it_when_it_is_back(
    settings: Settings, temporal: str, unused_tcp_port: int, door: Door, api: httpx2.AsyncClient
) -> None:
    run_id = await create_and_run(api, PATIENT)
    url = f"/api/workflows/runs/{run_id}"
    async with (
        running(settings, f"127.0.0.1:{unused_tcp_port}") as cut_off,
        Door(cut_off, door.database).client() as alone,
    ):
        answer = await alone.post(f"{url}/terminate")
        assert answer.json() == {"run_id": run_id, "status": "cancelled", "intent": "terminate"}
        for verb, path in (("POST", f"{url}/resume"), ("DELETE", url)):
            assert (await alone.request(verb, path)).status_code == 409
    # The sweeper of the API that has got a Temporal tells it.
    async with asyncio.timeout(60):
        while (await until(api, run_id, "cancelled"))["intent"] is not None:
            await asyncio.sleep(0.05)
    status = await temporal_status(temporal, door, run_id)
    assert status is WorkflowExecutionStatus.TERMINATED
    assert (await api.delete(url)).status_code == 200


async def test_a_deleted_run_is_gone_everywhere(api: httpx2.AsyncClient) -> None:
    created = await api.post("/api/workflows", json={"definition": QUIET})
    workflow = created.json()["id"]
    key = {"idempotency-key": "k"}
    first = await api.post(f"/api/workflows/{workflow}/run", headers=key)
    run_id = first.json()["run_id"]
    url = f"/api/workflows/runs/{run_id}"
    refused = await api.delete(url)
    assert (refused.status_code, refused.json()["error"]) == (409, "conflict")
    await api.post(f"{url}/cancel")
    answer = await api.delete(url)
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    for path in ("", "/input", "/output", "/stream", "/steps/first/output"):
        assert (await api.get(f"{url}{path}")).status_code == 404, path
    for path in ("/cancel", "/pause", "/resume", "/terminate"):
        assert (await api.post(f"{url}{path}")).status_code == 404, path
    assert (await api.delete(url)).status_code == 404
    for listing in ("/api/workflows/runs", f"/api/workflows/{workflow}/runs"):
        assert (await api.get(listing)).json() == {"runs": [], "total": 0}
    again = await api.post(f"/api/workflows/{workflow}/run", headers=key)
    assert (again.status_code, again.content) == (202, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert (await api.get("/api/workflows/runs")).json()["total"] == 0
