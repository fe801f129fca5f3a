"""/api/v1/jobs over the wire: followed, cancelled, paused, retried; contracts B-6 to B-8."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from app.settings import Settings
from tests.contract.conftest import working
from tests.contract.entity_batches.flock import (
    JOBS,
    MADE,
    TITLED,
    WORKFLOWS,
    hook,
    job,
    products,
    refusal,
    started,
    until_over,
    until_paused,
    workflow,
)
from tests.contract.full_engine.definitions import PATIENT, QUIET, create_and_run, until
from tests.receiver import Receiver


@pytest.fixture
async def local_worker(settings: Settings, temporal: str, app: FastAPI) -> AsyncIterator[None]:
    """A worker that may speak to the receiver."""
    async with working(settings, temporal, {"egress_allow": "127.0.0.0/8"}):
        yield


async def some(api: httpx2.AsyncClient, **params: Any) -> list[str]:
    answer = await api.get(JOBS, params=params)
    assert answer.status_code == 200, answer.text
    return [row["id"] for row in answer.json()["data"]]


@pytest.mark.usefixtures("worker")
async def test_b_q14_every_run_is_a_job(api: httpx2.AsyncClient) -> None:
    ids = await products(api, "One", None)
    batch = await until_over(api, await started(api, await workflow(api, TITLED), ids))
    run_id = await create_and_run(api, QUIET)
    await until(api, run_id, "completed")
    page = (await api.get(JOBS)).json()
    assert (page["total"], page["hasMore"]) == (2, False)
    plain, first = page["data"]
    assert [*plain] == [
        "id",
        "name",
        "type",
        "category",
        "status",
        "paused",
        "progress",
        "workflowId",
        "retryOf",
        "createdAt",
        "startedAt",
        "completedAt",
    ]
    assert first == {key: batch[key] for key in first}
    assert (first["name"], plain["name"]) == ("Check products", "Quiet")
    for row in (first, plain):
        assert (row["type"], row["category"]) == ("workflow_run", "ai")
        assert row["createdAt"] <= row["startedAt"] <= row["completedAt"]
    assert first["progress"] == {"total": 2, "completed": 1, "failed": 1}
    # What is not over entities counts as one; contracts §4.3.
    assert plain["progress"] == {"total": 1, "completed": 1, "failed": 0}
    assert plain["id"] == run_id.removeprefix("run_")
    full = await job(api, plain["id"])
    assert full["steps"] == [
        {"id": "first", "completed": 1, "failed": 0, "skipped": 0},
        {"id": "second", "completed": 1, "failed": 0, "skipped": 0},
    ]
    assert "Step 'first' has completed." in [line["message"] for line in full["logs"]]
    entities = (await api.get(f"{JOBS}/{plain['id']}/entities")).json()
    assert entities == {"data": [], "total": 0, "hasMore": False}
    refusal(await api.post(f"{JOBS}/{plain['id']}/retry"), 409)


async def test_b_q15_pages_are_of_twenty_and_newest_first(api: httpx2.AsyncClient) -> None:
    ids = await products(api, "One")
    made, other = await workflow(api, MADE), await workflow(api, MADE)
    found = [await started(api, made, ids) for _ in range(21)][::-1]
    page = (await api.get(JOBS)).json()
    assert [row["id"] for row in page["data"]] == found[:20]
    assert (page["total"], page["hasMore"]) == (21, True)
    assert await some(api, limit=2, offset=20) == found[20:]
    assert await some(api, limit=100) == found
    assert await some(api, workflowId=other) == []
    assert await some(api, workflowId=made, limit=1) == found[:1]
    assert await some(api, workflowId="x") == []
    assert await some(api, status="pending", category="ai") == found[:20]
    assert await some(api, status="completed") == []
    for category in ("seo", "sync", "export"):
        assert await some(api, category=category) == []
    for params in (
        {"status": "paused"},
        {"status": "canceled"},
        {"category": "x"},
        {"limit": 0},
        {"limit": 101},
        {"offset": -1},
    ):
        error = refusal(await api.get(JOBS, params=params), 400)
        assert error["code"] == "validation_error"
        assert error["details"][0]["path"] == f"query.{next(iter(params))}"


@pytest.mark.usefixtures("worker")
async def test_a_job_tells_what_became_of_each_entity(api: httpx2.AsyncClient) -> None:
    ids = await products(api, "One", None, "=1+1")
    found = await until_over(api, await started(api, await workflow(api, TITLED, MADE), ids))
    assert found["steps"] == [
        {"id": "titled", "completed": 2, "failed": 1, "skipped": 0},
        {"id": "made", "completed": 2, "failed": 0, "skipped": 1},
    ]
    assert (found["error"], found["intent"], found["estimatedCompletionAt"]) == (None, None, None)
    url = f"{JOBS}/{found['id']}/entities"
    page = (await api.get(url)).json()
    assert [row["entityId"] for row in page["data"]] == ids
    assert [row["status"] for row in page["data"]] == ["completed", "failed", "completed"]
    one, two, _ = page["data"]
    assert (one["output"], one["error"], one["attempts"]) == ("One", None, 2)
    assert (two["stepId"], two["error"]["code"]) == ("titled", "validation_failed")
    assert found["startedAt"] <= two["startedAt"] <= two["completedAt"] <= found["completedAt"]
    failed = (await api.get(url, params={"status": "failed"})).json()
    assert failed == {"data": [two], "total": 1, "hasMore": False}
    second = (await api.get(url, params={"limit": 1, "offset": 1})).json()
    assert second == {"data": [two], "total": 3, "hasMore": True}
    for state in ("pending", "running", "cancelled"):
        assert (await api.get(url, params={"status": state})).json()["total"] == 0
    refusal(await api.get(url, params={"status": "paused"}), 400)

    answer = await api.get(f"{url}.csv")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = [*csv.DictReader(io.StringIO(answer.text))]
    assert [row["entityId"] for row in rows] == ids
    assert [row["status"] for row in rows] == ["completed", "failed", "completed"]
    assert [row["output"] for row in rows] == ['"One"', "", '"=1+1"']
    assert rows[1]["errorCode"] == "validation_failed"
    assert rows[1]["errorMessage"] == two["error"]["message"]
    assert rows[0]["startedAt"] == str(one["startedAt"])
    answer = await api.get(f"{url}.csv", params={"status": "failed"})
    assert [row["entityId"] for row in csv.DictReader(io.StringIO(answer.text))] == [ids[1]]
    answer = await api.get(f"{url}.csv", params={"status": "pending"})
    assert answer.text.splitlines() == [",".join(rows[0])]


async def test_the_table_is_whole_however_long_it_is(api: httpx2.AsyncClient) -> None:
    ids = await products(api, *(str(n) for n in range(501)))
    found = await started(api, await workflow(api, MADE), ids)
    answer = await api.get(f"{JOBS}/{found}/entities.csv")
    rows = [*csv.DictReader(io.StringIO(answer.text))]
    assert [row["entityId"] for row in rows] == ids
    assert {row["status"] for row in rows} == {"pending"}


@pytest.mark.usefixtures("worker")
async def test_a_log_is_read_from_any_place(api: httpx2.AsyncClient) -> None:
    ids = await products(api, *([None] * 400), "One")
    found = await until_over(api, await started(api, await workflow(api, TITLED), ids))
    logs = found["logs"]
    assert logs[0]["message"] == "The job waits for its turn."
    assert logs[-1]["message"] == "The job has completed."
    sequences = [line["sequence"] for line in logs]
    assert sequences == sorted(sequences)
    assert {*sequences} == {*range(1, sequences[-1] + 1)}
    assert [line["timestamp"] for line in logs] == sorted(line["timestamp"] for line in logs)
    named = [line for line in logs if "entityId" in line]
    more = [line["message"] for line in logs if line["message"].endswith("more have failed.")]
    assert {line["entityId"] for line in named} < {*ids[:400]}
    assert len(named) + sum(int(text.split()[1]) for text in more) == 400
    for line in named:
        assert (line["level"], line["stepId"]) == ("warn", "titled")
    assert "401 of 401 entities are through, 400 have failed." in [line["message"] for line in logs]
    url = f"{JOBS}/{found['id']}"
    last = (await api.get(url, params={"logsLimit": 1})).json()["logs"]
    assert last == logs[-1:]
    behind = (await api.get(url, params={"logsAfter": 1, "logsLimit": 1})).json()["logs"]
    assert behind == [line for line in logs if line["sequence"] == 2]
    assert (await api.get(url, params={"logsAfter": sequences[-1]})).json()["logs"] == []
    for params in ({"logsLimit": 0}, {"logsLimit": 1_001}, {"logsAfter": -1}):
        refusal(await api.get(url, params=params), 400)


async def test_b_q11_a_job_that_waits_is_cancelled_at_once(api: httpx2.AsyncClient) -> None:
    """There is no worker here."""
    ids = await products(api, "One", "Two")
    url = f"{JOBS}/{await started(api, await workflow(api, MADE), ids)}"
    answer = await api.post(f"{url}/cancel")
    assert answer.status_code == 200
    body = answer.json()
    assert (body["status"], body["startedAt"]) == ("cancelled", None)
    assert body["progress"] == {"total": 2, "completed": 0, "failed": 0}
    assert body["completedAt"] is not None
    again = await api.post(f"{url}/cancel")
    assert (again.status_code, again.content) == (200, answer.content)
    assert (await api.get(url)).content == answer.content
    page = (await api.get(f"{url}/entities", params={"status": "cancelled"})).json()
    assert [row["status"] for row in page["data"]] == ["cancelled", "cancelled"]
    assert (await api.get(f"{url}/entities", params={"status": "pending"})).json()["total"] == 0


@pytest.mark.usefixtures("worker")
async def test_b_q11_what_is_over_is_not_cancelled(api: httpx2.AsyncClient) -> None:
    ids = await products(api, "One", None)
    made = await workflow(api, TITLED)
    for which in (ids, ids[1:]):
        found = await until_over(api, await started(api, made, which))
        error = refusal(await api.post(f"{JOBS}/{found['id']}/cancel"), 409)
        assert error["code"] == "conflict"
        assert await job(api, found["id"]) == found
    refusal(await api.post(f"{JOBS}/{'0' * 32}/cancel"), 404)


@pytest.mark.usefixtures("local_worker")
async def test_b_q11_a_cancel_stops_every_entity(
    api: httpx2.AsyncClient, receiver: Receiver
) -> None:
    ids = await products(api, *(f"Product {n}" for n in range(50)))
    made = await workflow(api, hook(receiver.url("/held/tell")), MADE)
    url = f"{JOBS}/{await started(api, made, ids, concurrency=5)}"
    async with asyncio.timeout(60):
        while receiver.waiting < 5:
            await asyncio.sleep(0.05)
    running = (await api.get(f"{url}/entities", params={"status": "running"})).json()
    assert running["total"] <= 5
    answer = await api.post(f"{url}/cancel")
    assert answer.status_code == 200
    found = await until_over(api, url.rpartition("/")[2])
    receiver.released.set()
    assert found["status"] == "cancelled"
    done = found["progress"]["completed"] + found["progress"]["failed"]
    assert done < 50
    left = (await api.get(f"{url}/entities", params={"status": "cancelled"})).json()
    assert left["total"] == 50 - done
    assert receiver.count("/held/tell") == 5
    assert (await api.post(f"{url}/cancel")).json() == await job(api, found["id"])


@pytest.mark.usefixtures("local_worker")
async def test_a_job_is_paused_and_goes_on(api: httpx2.AsyncClient, receiver: Receiver) -> None:
    ids = await products(api, *(f"Product {n}" for n in range(300)))
    # Some seconds of work, so that a pause comes before the end of it.
    path = "/slow/0.1/tell"
    made = await workflow(api, hook(receiver.url(path)))
    found = await started(api, made, ids, concurrency=5)
    url = f"{JOBS}/{found}"
    async with asyncio.timeout(60):
        while (seen := await job(api, found))["estimatedCompletionAt"] is None:
            assert seen["status"] in ("pending", "running")
            await asyncio.sleep(0.05)
    assert seen["estimatedCompletionAt"] >= seen["startedAt"]
    asked = await api.post(f"{url}/pause")
    assert (asked.status_code, asked.json()["intent"]) == (202, "pause")
    assert asked.json()["paused"] is False
    paused = await until_paused(api, found)
    assert paused["status"] == "running"
    assert 0 < paused["progress"]["completed"] < 300
    assert paused["estimatedCompletionAt"] is None
    # A filter that asks for what runs finds it.
    assert await some(api, status="running") == [found]
    assert (await api.get(f"{WORKFLOWS}/{made}/runs/{found}")).json()["paused"] is True
    assert (await api.post(f"{url}/pause")).status_code == 200
    resumed = await api.post(f"{url}/resume")
    assert resumed.status_code == 202
    over = await until_over(api, found)
    assert over["progress"] == {"total": 300, "completed": 300, "failed": 0}
    assert receiver.count(path) == 300
    for verb in ("pause", "resume"):
        refusal(await api.post(f"{url}/{verb}"), 409)


@pytest.mark.usefixtures("worker")
async def test_a_budget_of_failures_stops_a_job(api: httpx2.AsyncClient) -> None:
    ids = await products(api, *([None] * 200))
    made = await workflow(api, TITLED)
    budget = {"maxFailures": 1}
    found = await until_over(api, await started(api, made, ids, errorBudget=budget, concurrency=1))
    assert found["status"] == "cancelled"
    assert found["error"]["code"] == "error_budget_exceeded"
    assert found["progress"]["failed"] < 200
    assert found["logs"][-1]["level"] == "warn"
    assert "entities have failed" in found["logs"][-1]["message"]


@pytest.mark.usefixtures("worker")
async def test_a_plain_run_is_steered_as_a_job_as_well(api: httpx2.AsyncClient) -> None:
    run_id = await create_and_run(api, PATIENT)
    url = f"{JOBS}/{run_id.removeprefix('run_')}"
    async with asyncio.timeout(60):
        while (await api.get(url)).json()["steps"][0]["completed"] == 0:
            await asyncio.sleep(0.05)
    assert (await api.get(url)).json()["progress"] == {"total": 1, "completed": 0, "failed": 0}
    assert (await api.post(f"{url}/cancel")).status_code == 200
    over = await until(api, run_id, "cancelled")
    assert over["status"] == "cancelled"
    assert (await api.get(url)).json()["progress"] == {"total": 1, "completed": 0, "failed": 0}
