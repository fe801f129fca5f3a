"""A batch on the other two surfaces, and on its stream."""

import json

import httpx2
import pytest

from tests.contract.entity_batches.flock import (
    JOBS,
    MADE,
    TITLED,
    products,
    started,
    until_over,
    workflow,
)
from tests.contract.full_engine.definitions import QUIET, create_and_run


@pytest.mark.usefixtures("worker")
async def test_a_batch_is_a_run_like_any_other(api: httpx2.AsyncClient) -> None:
    ids = await products(api, "One", None, "Three")
    made = await workflow(api, TITLED, MADE)
    found = (await until_over(api, await started(api, made, ids)))["id"]

    page = (await api.get(f"/api/workflows/runs/run_{found}")).json()["run"]
    assert page["status"] == "completed"
    assert page["batch"] == page["output"] == {"total": 3, "completed": 2, "failed": 1}
    assert [(step["step_id"], step["status"], step["output"]) for step in page["step_runs"]] == [
        ("titled", "completed", {"completed": 2, "failed": 1, "skipped": 0}),
        ("made", "completed", {"completed": 2, "failed": 0, "skipped": 1}),
    ]
    for step in page["step_runs"]:
        assert page["started_at"] <= step["started_at"] <= step["completed_at"]
        assert step["completed_at"] == page["completed_at"]
        whole = await api.get(f"/api/workflows/runs/run_{found}/steps/{step['step_id']}/output")
        assert whole.json() == step["output"]
    listed = (await api.get(f"/api/workflows/wf_{made}/runs")).json()["runs"]
    assert [run["id"] for run in listed] == [f"run_{found}"]

    named = (await api.get(f"/v1/workflows/runs/cbwr_{found}")).json()
    assert (named["status"], named["workflow_name"]) == ("completed", "Check products")
    assert [(step["component_name"], step["status"]) for step in named["steps"]] == [
        ("titled", "success"),
        ("made", "success"),
    ]
    (summary,) = (await api.get("/v1/workflows/runs")).json()["data"]
    assert summary["step_count"] == 2

    told = (await api.get(f"/api/workflows/runs/run_{found}/stream")).text
    # On a busy machine there are some in between.
    *_, line = [part for part in told.split("\n\n") if "event: batch_progress" in part]
    data = json.loads(line.partition("data: ")[2])
    failures = data.pop("failures")
    assert data == {
        "run_id": f"run_{found}",
        "total": 3,
        "completed": 2,
        "failed": 1,
        "failed_here": 1,
        "noted_here": 0,
        "notes": [],
        "timestamp": data["timestamp"],
    }
    assert [(one["entity_id"], one["step_id"], one["code"]) for one in failures] == [
        (ids[1], "titled", "validation_failed")
    ]


@pytest.mark.usefixtures("worker")
async def test_a_step_where_all_have_failed_has_failed(api: httpx2.AsyncClient) -> None:
    ids = await products(api, None)
    made = await workflow(api, TITLED, MADE)
    found = (await until_over(api, await started(api, made, ids)))["id"]
    page = (await api.get(f"/api/workflows/runs/run_{found}")).json()["run"]
    assert [step["status"] for step in page["step_runs"]] == ["failed", "skipped"]
    assert [step["started_at"] is None for step in page["step_runs"]] == [False, True]
    named = (await api.get(f"/v1/workflows/runs/cbwr_{found}")).json()
    assert [(step["status"], step["message"]) for step in named["steps"]] == [
        ("failed", "1 of 1 entities have failed here.")
    ]


async def test_one_that_has_not_begun_shows_its_steps(api: httpx2.AsyncClient) -> None:
    """There is no worker here."""
    ids = await products(api, "One", "Two")
    found = await started(api, await workflow(api, TITLED, MADE), ids)
    page = (await api.get(f"/api/workflows/runs/run_{found}")).json()["run"]
    assert page["batch"] == {"total": 2, "completed": 0, "failed": 0}
    assert [step["status"] for step in page["step_runs"]] == ["pending", "pending"]
    assert (await api.get(f"/v1/workflows/runs/cbwr_{found}")).json()["steps"] == []
    cancelled = await api.post(f"/api/workflows/runs/run_{found}/cancel")
    assert cancelled.json()["status"] == "cancelled"
    assert (await api.get(f"{JOBS}/{found}")).json()["status"] == "cancelled"
    plain = await create_and_run(api, QUIET)
    assert (await api.get(f"/api/workflows/runs/{plain}")).json()["run"]["batch"] is None


@pytest.mark.usefixtures("worker")
async def test_attempts_are_those_of_entities(api: httpx2.AsyncClient) -> None:
    ids = await products(api, "One")
    whole = {
        "id": "told",
        "type": "notify",
        "config": {"channel": "webhook", "url": "http://127.0.0.1:9/", "once": True},
        "onError": "continue",
    }
    made = await workflow(api, MADE, whole)
    found = (await until_over(api, await started(api, made, ids)))["id"]
    url = f"/api/workflows/runs/run_{found}/steps"
    refused = await api.get(f"{url}/made/attempts")
    assert refused.status_code == 409
    assert f"/api/v1/jobs/{found}/entities" in refused.json()["message"]
    assert (await api.get(f"{url}/nothing/attempts")).status_code == 404
    assert (await api.get(f"{url}/told/attempts")).json()["total"] == 1
