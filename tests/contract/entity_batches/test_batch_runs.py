"""Running a workflow over entities, and the status of the run; seed 003, "Run Workflow"."""

import asyncio
from typing import Any

import httpx2
import pytest

from engine.roles import Role
from tests.contract.conftest import Door
from tests.contract.entity_batches.flock import (
    JOBS,
    MADE,
    TITLED,
    WORKFLOWS,
    job,
    products,
    refusal,
    started,
    until_over,
    workflow,
)
from tests.contract.full_engine.definitions import QUIET, create_and_run, until


async def run(
    api: httpx2.AsyncClient, workflow_id: str, body: Any, **headers: str
) -> httpx2.Response:
    return await api.post(f"{WORKFLOWS}/{workflow_id}/run", json=body, headers=headers)


async def none_made(api: httpx2.AsyncClient) -> bool:
    return bool((await api.get(JOBS)).json()["total"] == 0)


async def test_b_q1_the_run_is_the_job(api: httpx2.AsyncClient) -> None:
    ids = await products(api, "One")
    made = await workflow(api, MADE)
    answer = await run(api, made, {"entityIds": ids})
    body = answer.json()
    assert [*body] == ["jobId", "runId"]
    assert body["jobId"] == body["runId"]
    assert answer.headers["location"] == f"{JOBS}/{body['jobId']}"
    status = (await api.get(f"{WORKFLOWS}/{made}/runs/{body['runId']}")).json()
    assert status["id"] == body["runId"]
    # Under another workflow there is no such run.
    other = await workflow(api, MADE)
    refusal(await api.get(f"{WORKFLOWS}/{other}/runs/{body['runId']}"), 404)
    refusal(await api.get(f"{WORKFLOWS}/{made}/runs/{'0' * 32}"), 404)


async def test_b_q3_a_run_is_202_and_its_status_200(api: httpx2.AsyncClient) -> None:
    ids = await products(api, "One")
    made = await workflow(api, MADE)
    answer = await run(api, made, {"entityIds": ids})
    assert answer.status_code == 202
    status = await api.get(f"{WORKFLOWS}/{made}/runs/{answer.json()['runId']}")
    assert status.status_code == 200


async def test_b_q6_drafts_run_and_what_is_paused_or_archived_does_not(
    api: httpx2.AsyncClient,
) -> None:
    ids = await products(api, "One")
    draft = await workflow(api, MADE, status="draft")
    await started(api, draft, ids)
    archived = await workflow(api, MADE, status="archived")
    error = refusal(await run(api, archived, {"entityIds": ids}), 409)
    assert error["code"] == "conflict"
    assert "archived" in error["message"]
    for status in ("active", "paused"):
        changed = await api.patch(f"/api/workflows/wf_{draft}/status", json={"status": status})
        assert changed.status_code == 200, changed.text
    assert "paused" in refusal(await run(api, draft, {"entityIds": ids}), 409)["message"]
    refusal(await run(api, "0" * 32, {"entityIds": ids}), 404)


async def test_b_q9_repeats_are_dropped_and_the_order_is_kept(api: httpx2.AsyncClient) -> None:
    one, two, three = await products(api, "One", "Two", "Three")
    made = await workflow(api, MADE)
    found = await started(api, made, [three, one, three, two, one])
    assert (await job(api, found))["progress"]["total"] == 3
    page = (await api.get(f"{JOBS}/{found}/entities")).json()
    assert [row["entityId"] for row in page["data"]] == [three, one, two]
    assert (page["total"], page["hasMore"]) == (3, False)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"entityIds": []}, "entityIds"),
        ({}, "entityIds"),
        ({"entityIds": None}, "entityIds"),
        ({"entityIds": "0" * 32}, "entityIds"),
        ({"entityIds": ["x", 7, 8]}, "entityIds[1]"),
        ({"entityIds": ["x"], "concurrency": 0}, "concurrency"),
        ({"entityIds": ["x"], "concurrency": 1_001}, "concurrency"),
        ({"entityIds": ["x"], "concurrency": True}, "concurrency"),
        ({"entityIds": ["x"], "input": []}, "input"),
        ({"entityIds": ["x"], "errorBudget": {}}, "errorBudget"),
        (
            {"entityIds": ["x"], "errorBudget": {"maxFailures": 1, "maxFailurePercent": 1}},
            "errorBudget",
        ),
        ({"entityIds": ["x"], "errorBudget": {"maxFailures": 0}}, "errorBudget.maxFailures"),
        (
            {"entityIds": ["x"], "errorBudget": {"maxFailurePercent": 100.5}},
            "errorBudget.maxFailurePercent",
        ),
        (
            {"entityIds": ["x"], "errorBudget": {"maxFailures": 1, "onExceeded": "x"}},
            "errorBudget.onExceeded",
        ),
        *(
            (
                {"entityIds": ["x"], "errorBudget": {"maxFailurePercent": wrong}},
                "errorBudget.maxFailurePercent",
            )
            for wrong in (True, "7", "1e1", "nan")
        ),
        ({"entityIds": ["x"], "errorBudget": {"maxFailures": "1"}}, "errorBudget.maxFailures"),
        ({"entityIds": ["x"], "nothing": 1}, "nothing"),
        ({"entityIds": ["x"], "allEntities": True}, "entityIds"),
        ({"allEntities": False}, "entityIds"),
        ({"allEntities": 1}, "allEntities"),
    ],
)
async def test_b_q9_what_is_not_valid_is_named(
    api: httpx2.AsyncClient, body: dict[str, Any], place: str
) -> None:
    await products(api, "One")
    error = refusal(await run(api, await workflow(api, MADE), body), 400)
    assert error["code"] == "validation_error"
    assert [detail["path"] for detail in error["details"]] == [place]
    assert await none_made(api)


async def test_all_entities_of_the_type_are_those_that_are_there(api: httpx2.AsyncClient) -> None:
    ids = await products(api, "One", "Two", "Three")
    made = await workflow(api, MADE)
    await api.delete(f"/api/v1/entities/{ids[1]}")
    answer = await run(api, made, {"allEntities": True})
    assert answer.status_code == 202
    table = await api.get(f"{JOBS}/{answer.json()['jobId']}/entities")
    assert [row["entityId"] for row in table.json()["data"]] == [ids[0], ids[2]]
    for gone in ids:
        await api.delete(f"/api/v1/entities/{gone}")
    error = refusal(await run(api, made, {"allEntities": True}), 400)
    assert "no entities" in error["message"]


async def test_b_q12_a_run_that_is_pending_has_not_begun(api: httpx2.AsyncClient) -> None:
    """There is no worker here."""
    ids = await products(api, "One", "Two")
    made = await workflow(api, MADE)
    found = await started(api, made, ids)
    assert (await api.get(f"{WORKFLOWS}/{made}/runs/{found}")).json() == {
        "id": found,
        "status": "pending",
        "paused": False,
        "progress": {"total": 2, "completed": 0, "failed": 0},
        "startedAt": None,
        "completedAt": None,
    }
    assert (await api.get(f"{WORKFLOWS}/{made}")).json()["lastRunAt"] is None


@pytest.mark.usefixtures("worker")
async def test_b_q10_a_run_completes_although_some_fail(api: httpx2.AsyncClient) -> None:
    ids = await products(api, "One", None, "Three")
    made = await workflow(api, TITLED, MADE)
    found = await until_over(api, await started(api, made, ids))
    assert found["status"] == "completed"
    status = (await api.get(f"{WORKFLOWS}/{made}/runs/{found['id']}")).json()
    assert status["progress"] == {"total": 3, "completed": 2, "failed": 1}
    assert status["startedAt"] <= status["completedAt"]
    assert (await api.get(f"{WORKFLOWS}/{made}")).json()["lastRunAt"] == status["startedAt"]
    all_fail = await until_over(api, await started(api, made, [ids[1]]))
    assert all_fail["status"] == "failed"
    assert all_fail["progress"] == {"total": 1, "completed": 0, "failed": 1}
    assert all_fail["error"]["code"] == "all_entities_failed"


async def test_b_q16_a_key_that_reads_may_not_run(api: httpx2.AsyncClient, door: Door) -> None:
    ids = await products(api, "One")
    made = await workflow(api, MADE)
    async with door.client(await door.key(Role.VIEWER)) as viewer:
        error = refusal(await run(viewer, made, {"entityIds": ids}), 403)
        assert error["code"] == "forbidden"
        assert (await viewer.get(JOBS)).status_code == 200
    async with door.client(await door.key(Role.RUNNER)) as runner:
        found = await started(runner, made, ids)
        refusal(await runner.post(f"{JOBS}/{found}/cancel"), 403)


async def test_a_key_gets_its_first_answer_again(api: httpx2.AsyncClient) -> None:
    ids = await products(api, "One", "Two")
    made = await workflow(api, MADE)
    first = await run(api, made, {"entityIds": ids}, **{"idempotency-key": "one"})
    assert "idempotent-replayed" not in first.headers
    assert (await api.delete(f"/api/v1/entities/{ids[0]}")).status_code == 200
    again = await run(api, made, {"entityIds": ids}, **{"idempotency-key": "one"})
    assert (again.status_code, again.content) == (202, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    other = await run(api, made, {"entityIds": ids[1:]}, **{"idempotency-key": "one"})
    assert refusal(other, 422)["code"] == "idempotency_key_reused"
    assert (await api.get(JOBS)).json()["total"] == 1


async def test_the_input_has_to_fit_the_schema(api: httpx2.AsyncClient) -> None:
    ids = await products(api, "One")
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    definition = {
        "name": "With a schema",
        "entity_type": "Product",
        "steps": [MADE],
        "input_schema": schema,
    }
    answer = await api.post("/api/workflows", json={"definition": definition})
    assert answer.status_code == 201, answer.text
    made = answer.json()["id"].removeprefix("wf_")
    for wanted, path in (({"n": "x"}, "input.n"), ({}, "input")):
        error = refusal(await run(api, made, {"entityIds": ids, "input": wanted}), 400)
        assert [detail["path"] for detail in error["details"]] == [path]
    found = await started(api, made, ids, input={"n": 1})
    page = (await api.get(f"/api/workflows/runs/run_{found}")).json()["run"]
    assert page["input_data"] == {"n": 1}


async def test_an_input_is_bounded_as_elsewhere(api: httpx2.AsyncClient) -> None:
    """The bounds of the route are for the ids."""
    ids = await products(api, "One")
    made = await workflow(api, MADE)
    large = {str(n): "x" * 200_000 for n in range(6)}
    error = refusal(await run(api, made, {"entityIds": ids, "input": large}), 400)
    assert [detail["path"] for detail in error["details"]] == ["input"]
    many = {"n": [0] * 50_000}
    refusal(await run(api, made, {"entityIds": ids, "input": many}), 400)
    await started(api, made, ids, input={"n": [0] * 49_000})
    assert (await api.get(JOBS)).json()["total"] == 1


async def test_a_workflow_that_is_not_for_entities_is_a_409(api: httpx2.AsyncClient) -> None:
    ids = await products(api, "One")
    answer = await api.post("/api/workflows", json={"definition": QUIET})
    plain = answer.json()["id"].removeprefix("wf_")
    error = refusal(await run(api, plain, {"entityIds": ids}), 409)
    assert "not for entities" in error["message"]


async def test_only_a_list_of_entities_starts_it(api: httpx2.AsyncClient) -> None:
    await products(api, "One")
    made = await workflow(api, MADE)
    answer = await api.post(f"/api/workflows/wf_{made}/run", json={})
    assert (answer.status_code, answer.json()["error"]) == (409, "conflict")
    assert "POST /api/v1/workflows/{id}/run" in answer.json()["message"]
    answer = await api.post("/v1/workflows/Check products/run", json={})
    assert (answer.status_code, answer.json()["detail"]["code"]) == (409, "workflow_is_batch")
    vendor = await api.post("/api/v1/entities", json={"entityTypeId": "Vendor", "fields": {}})
    assessment = {"vendor_id": vendor.json()["id"], "control_set_ids": []}
    answer = await api.post(
        "/v1/assessments", json=assessment | {"trigger_workflow": "Check products"}
    )
    assert (answer.status_code, answer.json()["detail"]["code"]) == (409, "workflow_is_batch")
    assert await none_made(api)


@pytest.mark.usefixtures("worker")
async def test_a_step_cannot_start_it(api: httpx2.AsyncClient) -> None:
    await products(api, "One")
    await workflow(api, MADE)
    caller = {
        "name": "Caller",
        "steps": [{"id": "c", "type": "run_workflow", "config": {"workflow": "Check products"}}],
    }
    found = await until(api, await create_and_run(api, caller), "failed")
    assert found["error"]["code"] == "workflow_is_batch"


async def test_it_is_kept_with_its_options(api: httpx2.AsyncClient) -> None:
    ids = await products(api, "One")
    made = await workflow(api, MADE)
    full = await job(api, await started(api, made, ids))
    assert (full["concurrency"], full["errorBudget"]) == (20, None)
    found = await started(api, made, ids, concurrency=1_000, errorBudget={"maxFailures": 1})
    full = await job(api, found)
    assert full["concurrency"] == 1_000
    assert full["errorBudget"] == {"maxFailures": 1, "onExceeded": "stop"}


@pytest.mark.parametrize(("percent", "most"), [(100, 5), (20, 1), (20.5, 2), (0.001, 1)])
async def test_a_share_of_failures_becomes_a_number(
    api: httpx2.AsyncClient, percent: float, most: int
) -> None:
    ids = await products(api, *"abcde")
    made = await workflow(api, MADE)
    budget = {"maxFailurePercent": percent, "onExceeded": "pause"}
    full = await job(api, await started(api, made, ids, errorBudget=budget))
    assert full["errorBudget"] == {"maxFailures": most, "onExceeded": "pause"}


@pytest.mark.usefixtures("worker")
async def test_counters_never_go_back(api: httpx2.AsyncClient) -> None:
    """What holds whenever one looks; contracts §2.4."""
    ids = await products(api, *(None if n % 10 == 9 else f"Product {n}" for n in range(1_000)))
    made = await workflow(api, TITLED, MADE)
    found = await started(api, made, ids)
    order = ("pending", "running", "completed")
    before, state = (0, 0), "pending"
    async with asyncio.timeout(120):
        while state != "completed":
            answer = (await api.get(f"{WORKFLOWS}/{made}/runs/{found}")).json()
            progress = answer["progress"]
            now = (progress["completed"], progress["failed"])
            assert progress["total"] == 1_000
            assert now[0] >= before[0]
            assert now[1] >= before[1]
            assert sum(now) <= 1_000
            assert order.index(answer["status"]) >= order.index(state)
            before, state = now, answer["status"]
            assert (answer["startedAt"] is None) is (state == "pending")
            assert (answer["completedAt"] is None) is (state != "completed")
            await asyncio.sleep(0.02)
    assert before == (900, 100)
