"""Seed 003 as it is published: every route, with the fields that it lists, and what each is."""

import time
from typing import Any

import httpx2
import pytest

from tests.contract.entity_batches.flock import (
    JOBS,
    MADE,
    TITLED,
    WORKFLOWS,
    products,
    started,
    until_over,
    workflow,
)

STATUSES = ("active", "draft", "archived")
STATES = ("pending", "running", "completed", "failed", "cancelled")


def in_milliseconds(value: Any) -> bool:
    """Whether it is a time of the last hour."""
    now = time.time_ns() // 1_000_000
    return isinstance(value, int) and now - 3_600_000 < value <= now + 60_000


async def test_b1_list_workflows(api: httpx2.AsyncClient) -> None:
    await products(api, "One")
    made = await workflow(api, MADE, description="What it does.")
    answer = await api.get(WORKFLOWS)
    assert answer.status_code == 200
    (row,) = answer.json()["data"]
    assert row["id"] == made
    assert (row["name"], row["description"]) == ("Check products", "What it does.")
    assert row["status"] in STATUSES
    assert row["stepsCount"] == 1
    # "or null if never run"
    assert row["lastRunAt"] is None


@pytest.mark.usefixtures("worker")
async def test_b2_get_workflow(api: httpx2.AsyncClient) -> None:
    ids = await products(api, "One")
    made = await workflow(api, TITLED, MADE)
    await until_over(api, await started(api, made, ids))
    answer = await api.get(f"{WORKFLOWS}/{made}")
    assert answer.status_code == 200
    row = answer.json()
    assert row["stepsCount"] == 2
    assert in_milliseconds(row["lastRunAt"])
    # "Ordered array of step configurations."
    assert [(step["id"], step["type"]) for step in row["steps"]] == [
        ("titled", "validate"),
        ("made", "transform"),
    ]
    assert [step["config"] for step in row["steps"]] == [TITLED["config"], MADE["config"]]


async def test_b3_create_workflow(api: httpx2.AsyncClient) -> None:
    await products(api, "One")
    body = {
        "name": "Check products",
        "entityTypeId": "Product",
        "steps": [{"type": "validate", "config": TITLED["config"]}],
    }
    answer = await api.post(WORKFLOWS, json=body)
    assert answer.status_code == 201
    assert (await api.get(f"{WORKFLOWS}/{answer.json()['id']}")).json() == answer.json()
    for missing in body:
        less = {key: value for key, value in body.items() if key != missing}
        assert (await api.post(WORKFLOWS, json=less)).status_code == 400


async def test_b4_run_workflow(api: httpx2.AsyncClient) -> None:
    ids = await products(api, "One", "Two")
    made = await workflow(api, MADE)
    answer = await api.post(f"{WORKFLOWS}/{made}/run", json={"entityIds": ids})
    assert answer.status_code == 202
    # "Use the Jobs API to track progress."
    job = await api.get(f"{JOBS}/{answer.json()['jobId']}")
    assert job.json()["progress"]["total"] == 2


@pytest.mark.usefixtures("worker")
async def test_b5_get_run_status(api: httpx2.AsyncClient) -> None:
    ids = await products(api, "One", None, "Three")
    made = await workflow(api, TITLED, MADE)
    found = (await until_over(api, await started(api, made, ids)))["id"]
    answer = await api.get(f"{WORKFLOWS}/{made}/runs/{found}")
    assert answer.status_code == 200
    run = answer.json()
    assert run["id"] == found
    assert run["status"] in STATES
    assert run["progress"] == {"total": 3, "completed": 2, "failed": 1}
    assert in_milliseconds(run["startedAt"])
    assert in_milliseconds(run["completedAt"])


async def test_b6_list_jobs(api: httpx2.AsyncClient) -> None:
    ids = await products(api, "One")
    made = await workflow(api, MADE)
    found = await started(api, made, ids)
    params = {"status": "pending", "category": "ai", "limit": 20}
    answer = await api.get(JOBS, params=params)
    assert answer.status_code == 200
    (row,) = answer.json()["data"]
    assert (row["id"], row["name"], row["type"]) == (found, "Check products", "workflow_run")
    assert (row["category"], row["status"]) == ("ai", "pending")
    assert row["progress"] == {"total": 1, "completed": 0, "failed": 0}
    assert in_milliseconds(row["createdAt"])
    assert row["completedAt"] is None


@pytest.mark.usefixtures("worker")
async def test_b7_get_job(api: httpx2.AsyncClient) -> None:
    ids = await products(api, "One", None)
    made = await workflow(api, TITLED)
    job = await until_over(api, await started(api, made, ids))
    # "monitor run progress, view logs"
    for line in job["logs"]:
        assert in_milliseconds(line["timestamp"])
        assert line["level"] in ("info", "warn", "error")
        assert isinstance(line["message"], str)
    (warned,) = [line for line in job["logs"] if line["level"] == "warn"]
    assert (warned["entityId"], warned["stepId"]) == (ids[1], "titled")


async def test_b8_cancel_a_job(api: httpx2.AsyncClient) -> None:
    ids = await products(api, "One")
    found = await started(api, await workflow(api, MADE), ids)
    # "and cancel if needed"
    answer = await api.post(f"{JOBS}/{found}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
