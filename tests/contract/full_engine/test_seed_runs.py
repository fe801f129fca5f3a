"""C-12 to C-18 as the seed has them: its requests, quoted, and the keys of its responses."""

import asyncio
from typing import Any

import httpx2
import pytest

from tests.contract.full_engine.definitions import PATIENT, create_and_run, until
from tests.contract.full_engine.test_stream import everything
from tests.receiver import Receiver

pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture(autouse=True)
def _loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """The receiver stands for what the seed's workflow calls."""
    monkeypatch.setenv("SIGNALBOX_EGRESS_ALLOW", "127.0.0.0/8")


def seed(receiver: Receiver) -> dict[str, Any]:
    """The seed's first workflow, with a step of this test in the place of its agent."""
    return {
        "name": "Fetch and notify",
        "steps": [
            {
                "id": "fetch",
                "type": "http_request",
                "config": {"method": "GET", "url": receiver.url("/data")},
            },
            {
                "id": "notify",
                "type": "transform",
                "config": {"output": "Posted summary to #general"},
                "depends_on": ["fetch"],
            },
        ],
    }


async def start(api: httpx2.AsyncClient, definition: dict[str, Any]) -> tuple[str, str]:
    """The ids of a workflow and of the run that the seed's request starts."""
    created = await api.post(
        "/api/workflows",
        json={
            "definition": definition,
            "trigger_type": "manual",
            "tags": ["notifications"],
        },
    )
    workflow = created.json()["id"]
    answer = await api.post(
        f"/api/workflows/{workflow}/run",
        json={"input_data": {"dataset_id": "ds_123"}, "trigger": "manual"},
    )
    assert answer.status_code == 202
    return workflow, answer.json()["run_id"]


async def test_c12_run_a_workflow(api: httpx2.AsyncClient, receiver: Receiver) -> None:
    """Returns 202 immediately: {"run_id": "run_abc123"}."""
    created = await api.post("/api/workflows", json={"definition": seed(receiver)})
    answer = await api.post(
        f"/api/workflows/{created.json()['id']}/run",
        json={"input_data": {"dataset_id": "ds_123"}, "trigger": "manual"},
    )
    assert answer.status_code == 202
    assert [*answer.json()] == ["run_id"]
    assert answer.json()["run_id"].startswith("run_")


async def test_c13_list_runs_for_a_workflow(api: httpx2.AsyncClient, receiver: Receiver) -> None:
    """Query: status, limit, offset."""
    workflow, first = await start(api, seed(receiver))
    again = await api.post(f"/api/workflows/{workflow}/run")
    for run_id in (first, again.json()["run_id"]):
        await until(api, run_id, "completed")
    answer = await api.get(f"/api/workflows/{workflow}/runs?status=completed&limit=1&offset=1")
    assert answer.status_code == 200
    assert {*answer.json()} == {"runs", "total"}
    assert answer.json()["total"] == 2
    (run,) = answer.json()["runs"]
    assert (run["id"], run["workflow_id"], run["status"]) == (first, workflow, "completed")
    assert "step_runs" not in run


async def test_c14_get_a_run(api: httpx2.AsyncClient, receiver: Receiver) -> None:
    """Response includes step-by-step results."""
    workflow, run_id = await start(api, seed(receiver))
    await until(api, run_id, "completed")
    answer = await api.get(f"/api/workflows/runs/{run_id}")
    assert answer.status_code == 200
    assert [*answer.json()] == ["run"]
    run = answer.json()["run"]
    assert {
        "id",
        "workflow_id",
        "status",
        "trigger",
        "started_at",
        "completed_at",
        "duration_seconds",
        "step_runs",
    } <= {*run}
    assert (run["id"], run["workflow_id"]) == (run_id, workflow)
    assert (run["status"], run["trigger"]) == ("completed", "manual")
    assert isinstance(run["duration_seconds"], int)
    fetch, notify = run["step_runs"]
    for step in (fetch, notify):
        assert {"step_id", "status", "output", "started_at", "duration_seconds"} <= {*step}
        assert step["status"] == "completed"
        assert isinstance(step["duration_seconds"], int)
    assert (fetch["step_id"], notify["step_id"]) == ("fetch", "notify")
    assert {"status_code", "body"} <= {*fetch["output"]}
    assert fetch["output"]["status_code"] == 200
    assert fetch["output"]["body"] == {"path": "/data", "n": 1}
    assert notify["output"] == "Posted summary to #general"


async def test_c15_cancel_a_run(api: httpx2.AsyncClient) -> None:
    run_id = await create_and_run(api, PATIENT)
    await until(api, run_id, "running")
    answer = await api.post(f"/api/workflows/runs/{run_id}/cancel")
    assert answer.status_code == 200
    assert answer.json()["run_id"] == run_id
    assert (await until(api, run_id, "cancelled"))["completed_at"] is not None


async def test_c16_resume_a_paused_run(api: httpx2.AsyncClient, receiver: Receiver) -> None:
    """{"from_step": "notify"}; omit from_step to resume from the last checkpoint."""
    definition = seed(receiver)
    definition["steps"][0]["config"]["url"] = receiver.url("/held/data")
    for number, body in enumerate(({"from_step": "notify"}, None), start=1):
        receiver.released.clear()
        _, run_id = await start(api, definition)
        async with asyncio.timeout(30):
            while receiver.count("/held") < number:
                await asyncio.sleep(0.02)
        await api.post(f"/api/workflows/runs/{run_id}/pause")
        receiver.released.set()
        paused = await until(api, run_id, "paused", "completed")
        assert [step["status"] for step in paused["step_runs"]] == ["completed", "pending"]
        answer = await api.post(f"/api/workflows/runs/{run_id}/resume", json=body)
        assert answer.status_code == 202, answer.text
        assert answer.json()["run_id"] == run_id
        run = await until(api, run_id, "completed", "failed")
        assert run["status"] == "completed"
    assert receiver.count("/held") == 2


async def test_c17_delete_a_run(api: httpx2.AsyncClient, receiver: Receiver) -> None:
    _, run_id = await start(api, seed(receiver))
    await until(api, run_id, "completed")
    answer = await api.delete(f"/api/workflows/runs/{run_id}")
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    gone = await api.get(f"/api/workflows/runs/{run_id}")
    assert (gone.status_code, gone.json()["error"]) == (404, "not_found")


async def test_c18_stream_run_events(live: httpx2.AsyncClient, receiver: Receiver) -> None:
    """`step_started`, `step_completed` and `run_completed`, each with the seed's keys."""
    _, run_id = await start(live, seed(receiver))
    told = await everything(live, run_id)
    steps = [event for event in told if event.data.get("step_id") == "fetch"]
    assert [event.type for event in steps] == ["step_started", "step_completed"]
    begun, completed = steps
    assert {"run_id", "step_id", "timestamp"} <= {*begun.data}
    assert {"run_id", "step_id", "output"} <= {*completed.data}
    assert completed.data["output"]["status_code"] == 200
    last = told[-1]
    assert last.type == "run_completed"
    assert {"run_id", "status", "duration_seconds"} <= {*last.data}
    assert (last.data["run_id"], last.data["status"]) == (run_id, "completed")
    assert isinstance(last.data["duration_seconds"], int)
