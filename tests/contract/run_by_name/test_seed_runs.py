"""A-1 to A-3 as the seed has them: its requests, quoted, and the keys of its responses."""

import re
import time
from typing import Any

import httpx2
import pytest

from tests.contract.run_by_name.definitions import INPUT, SWEEP, create, quiet, read, start, until

pytestmark = pytest.mark.usefixtures("worker")


def is_id(prefix: str, written: str) -> bool:
    return re.fullmatch(prefix + "[0-9a-f]{32}", written) is not None


async def test_a1_run_a_workflow(api: httpx2.AsyncClient) -> None:
    """201 Created, with the five keys of the published example."""
    await create(api, quiet())
    before = int(time.time())
    answer = await api.post(
        "/v1/workflows/quarterly-privacy-sweep/run",
        headers={"Idempotency-Key": "privacy-sweep-2026-q2", "Content-Type": "application/json"},
        json={
            "input": {
                "vendor_filter": {"tags": ["processes_pii"]},
                "due_date": "2026-06-30",
            }
        },
    )
    assert answer.status_code == 201
    body = answer.json()
    assert [*body] == ["workflow_run_id", "workflow_name", "status", "started_at", "input"]
    assert is_id("cbwr_", body["workflow_run_id"])
    assert (body["workflow_name"], body["status"]) == (SWEEP, "started")
    assert before <= body["started_at"] <= time.time()
    assert body["input"] == INPUT


async def test_a2_get_a_workflow_run(api: httpx2.AsyncClient) -> None:
    """Poll this endpoint until status is terminal."""
    workflow = await create(api, quiet())
    run_id = await start(api, input=INPUT)
    run = await until(api, run_id, "completed")
    assert [*run] == [
        "workflow_run_id",
        "workflow_name",
        "workflow_definition_id",
        "status",
        "started_at",
        "completed_at",
        "steps",
    ]
    assert run["workflow_run_id"] == run_id
    assert run["workflow_definition_id"] == f"cbwd_{workflow}"
    assert isinstance(run["completed_at"], int)
    (step,) = run["steps"]
    assert [*step] == [
        "step_id",
        "component_id",
        "component_name",
        "action_type",
        "status",
        "message",
        "artifacts",
        "created_at",
        "updated_at",
    ]
    assert is_id("cbwrs_", step["step_id"])
    assert is_id("cbwc_", step["component_id"])
    assert (step["component_name"], step["action_type"]) == ("Send questionnaire", "transform")
    assert (step["status"], step["message"], step["artifacts"]) == ("success", None, [])
    assert run["started_at"] <= step["created_at"] <= step["updated_at"] <= run["completed_at"]
    again = await start(api, input=INPUT)
    (other,) = (await until(api, again, "completed"))["steps"]
    assert other["component_id"] == step["component_id"]
    assert other["step_id"] != step["step_id"]


async def test_a3_list_workflow_runs(api: httpx2.AsyncClient) -> None:
    """?workflow_name=quarterly-privacy-sweep&status=failed&limit=20"""
    broken: dict[str, Any] = {"output": "{{ input.missing.field }}"}
    step = {"id": "send", "type": "transform", "config": broken}
    await create(api, {"name": SWEEP, "steps": [step]})
    run_id = await start(api)
    run = await until(api, run_id, "failed")
    answer = await api.get(
        "/v1/workflows/runs?workflow_name=quarterly-privacy-sweep&status=failed&limit=20"
    )
    assert answer.status_code == 200
    assert [*answer.json()] == ["data", "total", "limit", "offset"]
    assert (answer.json()["total"], answer.json()["limit"], answer.json()["offset"]) == (1, 20, 0)
    (summary,) = answer.json()["data"]
    steps = run.pop("steps")
    assert summary == {**run, "step_count": 1}
    assert steps[0]["status"] == "failed"
    assert steps[0]["message"]


async def test_the_published_errors(api: httpx2.AsyncClient) -> None:
    missing = {"code": "workflow_not_found", "message": "Workflow 'onboard-vendor' not found."}
    answer = await api.post("/v1/workflows/onboard-vendor/run", json={"input": {}})
    assert (answer.status_code, answer.json()) == (404, {"detail": missing})
    answer = await api.get("/v1/workflows/runs?workflow_name=onboard-vendor")
    assert (answer.status_code, answer.json()) == (404, {"detail": missing})
    await create(api, quiet("onboard-vendor"), status="paused")
    answer = await api.post("/v1/workflows/onboard-vendor/run", json={"input": {}})
    disabled = {"code": "workflow_disabled", "message": "Workflow 'onboard-vendor' is disabled."}
    assert (answer.status_code, answer.json()) == (409, {"detail": disabled})
    answer = await api.get(f"/v1/workflows/runs/cbwr_{'a' * 32}")
    unknown = {"code": "workflow_run_not_found", "message": "Workflow run not found."}
    assert (answer.status_code, answer.json()) == (404, {"detail": unknown})
    answer = await api.get("/v1/workflows/runs?limit=501&status=cancelled")
    assert answer.status_code == 422
    found = {tuple(finding["loc"]) for finding in answer.json()["detail"]}
    assert found == {("query", "limit"), ("query", "status", 0)}
    for finding in answer.json()["detail"]:
        assert {*finding} == {"loc", "msg", "type"}


async def test_the_runs_of_other_surfaces_are_there_too(api: httpx2.AsyncClient) -> None:
    workflow = await create(api, quiet())
    started = await api.post(f"/api/workflows/wf_{workflow}/run", json={"input_data": {"a": 1}})
    digits = started.json()["run_id"].removeprefix("run_")
    run = await until(api, f"cbwr_{digits}", "completed")
    assert run["workflow_name"] == SWEEP
    ours = await start(api)
    assert (
        await api.get(f"/api/workflows/runs/run_{ours.removeprefix('cbwr_')}")
    ).status_code == 200
    answer = await api.get("/v1/workflows/runs")
    listed = [run["workflow_run_id"] for run in answer.json()["data"]]
    assert listed == [ours, f"cbwr_{digits}"]
    assert "input" not in await read(api, ours)
