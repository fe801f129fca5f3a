"""Retries of jobs over the wire, and what their verbs take."""

import httpx2
import pytest

from app.settings import Settings
from tests.contract.conftest import working
from tests.contract.entity_batches.flock import (
    JOBS,
    MADE,
    TITLED,
    job,
    products,
    refusal,
    started,
    until_over,
    workflow,
)


@pytest.mark.usefixtures("worker")
async def test_what_has_failed_is_retried(api: httpx2.AsyncClient) -> None:
    ids = await products(api, "One", None, "Three", None)
    made = await workflow(api, TITLED)
    budget = {"maxFailures": 4, "onExceeded": "pause"}
    first = await until_over(
        api, await started(api, made, ids, concurrency=7, errorBudget=budget, input={"n": 1})
    )
    patched = await api.patch(f"/api/v1/entities/{ids[1]}", json={"fields": {"title": "Two"}})
    assert patched.status_code == 200
    url = f"{JOBS}/{first['id']}/retry"
    answer = await api.post(url, headers={"idempotency-key": "again"})
    assert answer.status_code == 202
    again = await api.post(url, headers={"idempotency-key": "again"})
    assert again.content == answer.content
    second = await until_over(api, answer.json()["jobId"])
    assert answer.json()["runId"] == second["id"]
    assert second["retryOf"] == first["id"]
    assert second["progress"] == {"total": 2, "completed": 1, "failed": 1}
    assert (second["concurrency"], second["errorBudget"]) == (7, budget)
    page = (await api.get(f"{JOBS}/{second['id']}/entities")).json()
    assert [row["entityId"] for row in page["data"]] == [ids[1], ids[3]]
    run = (await api.get(f"/api/workflows/runs/run_{second['id']}")).json()["run"]
    assert run["input_data"] == {"n": 1}
    assert await job(api, first["id"]) == first
    healthy = await until_over(api, await started(api, made, ids[:1]))
    refusal(await api.post(f"{JOBS}/{healthy['id']}/retry"), 409)
    refusal(await api.post(f"{JOBS}/{'0' * 32}/retry"), 404)
    archived = await api.patch(f"/api/workflows/wf_{made}/status", json={"status": "archived"})
    assert archived.status_code == 200
    refusal(await api.post(url), 409)


async def test_what_is_not_over_is_not_retried(api: httpx2.AsyncClient) -> None:
    ids = await products(api, "One")
    found = await started(api, await workflow(api, MADE), ids)
    assert "not over" in refusal(await api.post(f"{JOBS}/{found}/retry"), 409)["message"]


@pytest.mark.usefixtures("worker")
async def test_a_retry_has_options_of_its_own(api: httpx2.AsyncClient) -> None:
    ids = await products(api, *([None] * 10))
    made = await workflow(api, TITLED)
    first = await started(api, made, ids, errorBudget={"maxFailures": 9_000})
    await until_over(api, first)
    url, key = f"{JOBS}/{first}/retry", {"idempotency-key": "k"}
    wanted = {"concurrency": 3, "errorBudget": {"maxFailurePercent": 25, "onExceeded": "pause"}}
    answer = await api.post(url, json=wanted, headers=key)
    assert answer.status_code == 202, answer.text
    second = await job(api, answer.json()["jobId"])
    assert second["concurrency"] == 3
    assert second["errorBudget"] == {"maxFailures": 3, "onExceeded": "pause"}
    again = await api.post(url, json=wanted, headers=key)
    assert (again.status_code, again.content) == (202, answer.content)
    for other in ({}, {"concurrency": 4}):
        reused = refusal(await api.post(url, json=other, headers=key), 422)
        assert reused["code"] == "idempotency_key_reused"
    for wrong, place in (
        ({"colour": 1}, "colour"),
        ({"concurrency": True}, "concurrency"),
        ({"errorBudget": {}}, "errorBudget"),
    ):
        error = refusal(await api.post(url, json=wrong), 400)
        assert [detail["path"] for detail in error["details"]] == [place]


@pytest.mark.usefixtures("worker")
async def test_what_was_deleted_is_left_out(api: httpx2.AsyncClient) -> None:
    ids = await products(api, None, None)
    first = await started(api, await workflow(api, TITLED), ids)
    await until_over(api, first)
    url = f"{JOBS}/{first}/retry"
    assert (await api.delete(f"/api/v1/entities/{ids[0]}")).status_code == 200
    retried = (await api.post(url)).json()["jobId"]
    page = (await api.get(f"{JOBS}/{retried}/entities")).json()
    assert [row["entityId"] for row in page["data"]] == [ids[1]]
    await until_over(api, retried)
    assert (await api.delete(f"/api/v1/entities/{ids[1]}")).status_code == 200
    assert "were deleted" in refusal(await api.post(url), 409)["message"]


async def test_there_is_one_retry_at_a_time(
    settings: Settings, temporal: str, api: httpx2.AsyncClient
) -> None:
    ids = await products(api, None)
    first = await started(api, await workflow(api, TITLED), ids)
    async with working(settings, temporal):
        await until_over(api, first)
    # Nobody carries it out any more.
    url = f"{JOBS}/{first}/retry"
    retried = (await api.post(url)).json()["jobId"]
    assert retried in refusal(await api.post(url), 409)["message"]
    assert (await api.post(f"{JOBS}/{retried}/cancel")).status_code == 200
    assert (await api.post(url)).status_code == 202


async def test_verbs_that_take_nothing_refuse_what_is_said(api: httpx2.AsyncClient) -> None:
    ids = await products(api, "One")
    url = f"{JOBS}/{await started(api, await workflow(api, MADE), ids)}"
    for verb in ("pause", "resume", "cancel"):
        error = refusal(await api.post(f"{url}/{verb}", json={"fromStep": "a"}), 400)
        assert [detail["path"] for detail in error["details"]] == ["fromStep"]
        refusal(await api.post(f"{url}/{verb}", json=[]), 400)
        assert (await api.post(f"{url}/{verb}", json={})).is_success


async def test_a_job_is_called_a_job(api: httpx2.AsyncClient) -> None:
    for verb in ("pause", "resume", "cancel", "retry"):
        error = refusal(await api.post(f"{JOBS}/{'0' * 32}/{verb}"), 404)
        assert error["message"] == "There is no such job."
    assert refusal(await api.get(f"{JOBS}/x"), 404)["message"] == "There is no such job."
