"""Start, read, list, cancel, pause and resume, as far as it needs no worker."""

import asyncio

import httpx2
import pytest
from fastapi import FastAPI
from temporalio.client import Client, WorkflowExecutionStatus

from app.settings import Settings
from store import runs
from tests.contract.conftest import Door, running
from tests.contract.full_engine.definitions import QUIET
from workflows.contract import workflow_id


async def created(api: httpx2.AsyncClient, **more: object) -> str:
    answer = await api.post("/api/workflows", json={"definition": QUIET, **more})
    return str(answer.json()["id"])


async def started(api: httpx2.AsyncClient) -> str:
    answer = await api.post(f"/api/workflows/{await created(api)}/run", json={})
    assert answer.status_code == 202
    return str(answer.json()["run_id"])


async def test_a_run_is_accepted_and_reaches_temporal(
    api: httpx2.AsyncClient, temporal: str
) -> None:
    workflow = await created(api)
    answer = await api.post(
        f"/api/workflows/{workflow}/run",
        json={"input_data": {"dataset_id": "ds_123"}, "trigger": "manual"},
    )
    assert answer.status_code == 202
    run_id = answer.json()["run_id"]
    assert answer.json() == {"run_id": run_id}
    assert answer.headers["location"] == f"/api/workflows/runs/{run_id}"
    run = (await api.get(answer.headers["location"])).json()["run"]
    assert run["id"] == run_id
    assert (run["workflow_id"], run["version"], run["workflow_name"]) == (workflow, 1, "Quiet")
    assert (run["status"], run["trigger"], run["intent"]) == ("pending", "manual", None)
    assert (run["started_at"], run["completed_at"], run["duration_seconds"]) == (None, None, None)
    assert [(step["step_id"], step["status"]) for step in run["step_runs"]] == [
        ("first", "pending"),
        ("second", "pending"),
    ]
    client = await Client.connect(temporal)
    handle = client.get_workflow_handle(workflow_id(run_id.removeprefix("run_"), 1))
    described = await handle.describe()
    assert described.status is WorkflowExecutionStatus.RUNNING
    assert described.workflow_type == "run"
    pages = (await api.get(f"/api/workflows/{workflow}/runs")).json()
    assert pages["total"] == 1
    assert pages["runs"][0]["id"] == run_id
    assert "step_runs" not in pages["runs"][0]


async def test_a_run_may_be_started_without_a_body(api: httpx2.AsyncClient) -> None:
    answer = await api.post(f"/api/workflows/{await created(api)}/run")
    assert answer.status_code == 202


@pytest.mark.parametrize(
    "body", [{"input": {}}, {"input_data": []}, {"input_data": None}, {"trigger": ""}, []]
)
async def test_a_wrong_start_is_a_422(api: httpx2.AsyncClient, body: object) -> None:
    workflow = await created(api)
    answer = await api.post(f"/api/workflows/{workflow}/run", json=body)
    assert answer.status_code == 422
    assert (await api.get(f"/api/workflows/{workflow}/runs")).json()["total"] == 0


@pytest.mark.parametrize(
    ("status", "answered"), [("active", 202), ("draft", 202), ("paused", 409), ("archived", 409)]
)
async def test_which_workflows_run(api: httpx2.AsyncClient, status: str, answered: int) -> None:
    workflow = await created(api, status=status)
    answer = await api.post(f"/api/workflows/{workflow}/run", json={})
    assert answer.status_code == answered
    if answered == 409:
        assert answer.json()["error"] == "conflict"
        assert status in answer.json()["message"]


async def test_lists_of_runs_filter_and_page(api: httpx2.AsyncClient) -> None:
    workflow = await created(api)
    ids = [(await api.post(f"/api/workflows/{workflow}/run")).json()["run_id"] for _ in range(3)]
    await api.post(f"/api/workflows/runs/{ids[1]}/cancel")
    for query, wanted, total in (
        ("", ids[::-1], 3),
        ("?limit=2", [ids[2], ids[1]], 3),
        ("?limit=2&offset=2", [ids[0]], 3),
        ("?status=cancelled", [ids[1]], 1),
        ("?status=pending", [ids[2], ids[0]], 2),
        ("?status=completed", [], 0),
    ):
        page = (await api.get(f"/api/workflows/{workflow}/runs{query}")).json()
        assert [run["id"] for run in page["runs"]] == wanted, query
        assert page["total"] == total
    assert (await api.get(f"/api/workflows/{workflow}/runs?status=queued")).status_code == 422
    assert (await api.get(f"/api/workflows/{workflow}/runs?limit=201")).status_code == 422


async def test_a_key_starts_one_run(api: httpx2.AsyncClient) -> None:
    workflow = await created(api)
    url = f"/api/workflows/{workflow}/run"
    headers = {"idempotency-key": "k1"}
    first = await api.post(url, json={"input_data": {"a": 1, "b": 2}}, headers=headers)
    assert first.status_code == 202
    assert "idempotent-replayed" not in first.headers
    again = await api.post(
        url,
        content=b'{ "trigger": "manual", "input_data": {"b": 2, "a": 1} }',
        headers=headers | {"content-type": "application/json"},
    )
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    other = await api.post(url, json={"input_data": {"a": 2}}, headers=headers)
    assert other.status_code == 422
    assert other.json()["error"] == "idempotency_key_reused"
    assert (await api.get(f"/api/workflows/{workflow}/runs")).json()["total"] == 1
    elsewhere = await created(api)
    third = await api.post(f"/api/workflows/{elsewhere}/run", json={}, headers=headers)
    assert third.json()["run_id"] != first.json()["run_id"]


async def test_a_key_starts_one_run_among_many_at_once(api: httpx2.AsyncClient) -> None:
    workflow = await created(api)
    answers = await asyncio.gather(
        *(
            api.post(f"/api/workflows/{workflow}/run", headers={"idempotency-key": "k"})
            for _ in range(20)
        )
    )
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert (await api.get(f"/api/workflows/{workflow}/runs")).json()["total"] == 1


async def test_a_refused_start_does_not_use_the_key_up(api: httpx2.AsyncClient) -> None:
    url = f"/api/workflows/{await created(api)}/run"
    headers = {"idempotency-key": "k"}
    assert (await api.post(url, json={"x": 1}, headers=headers)).status_code == 422
    assert (await api.post(url, json={}, headers=headers)).status_code == 202


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "é"])
async def test_a_key_that_is_no_key_is_a_422(api: httpx2.AsyncClient, key: str) -> None:
    url = f"/api/workflows/{await created(api)}/run"
    headers = [(b"idempotency-key", key.encode())]
    assert (await api.post(url, json={}, headers=headers)).status_code == 422
    twice = [("idempotency-key", "a"), ("idempotency-key", "a")]
    assert (await api.post(url, json={}, headers=twice)).status_code == 422


async def test_cancel_of_a_queued_run_is_final(api: httpx2.AsyncClient) -> None:
    run_id = await started(api)
    for _ in range(2):
        answer = await api.post(f"/api/workflows/runs/{run_id}/cancel")
        assert answer.status_code == 200
        assert answer.json() == {"run_id": run_id, "status": "cancelled", "intent": None}
    run = (await api.get(f"/api/workflows/runs/{run_id}")).json()["run"]
    assert run["status"] == "cancelled"
    assert run["completed_at"].endswith("Z")
    paused = await api.post(f"/api/workflows/runs/{run_id}/pause")
    assert paused.status_code == 409


async def test_pause_and_resume_of_a_queued_run(api: httpx2.AsyncClient, door: Door) -> None:
    run_id = await started(api)
    url = f"/api/workflows/runs/{run_id}"
    assert (await api.post(f"{url}/resume")).status_code == 409
    paused = await api.post(f"{url}/pause")
    assert (paused.status_code, paused.json()["status"]) == (200, "paused")
    unknown = await api.post(f"{url}/resume", json={"from_step": "nope"})
    assert unknown.status_code == 422
    assert unknown.json()["problems"][0]["path"] == "from_step"
    assert (await api.post(f"{url}/resume", json={"step": "first"})).status_code == 422
    early = await api.post(f"{url}/resume", json={"from_step": "second"})
    assert early.status_code == 409
    resumed = await api.post(f"{url}/resume")
    assert resumed.status_code == 202
    assert resumed.json() == {"run_id": run_id, "status": "pending", "intent": None}
    row = await door.database.read(lambda tx: runs.by_id(tx, run_id.removeprefix("run_")))
    assert row is not None
    assert row.n == 2


async def test_a_step_without_output_is_a_404(api: httpx2.AsyncClient) -> None:
    url = f"/api/workflows/runs/{await started(api)}"
    assert (await api.get(f"{url}/output")).json() is None
    for step in ("first", "nope", "%00"):
        assert (await api.get(f"{url}/steps/{step}/output")).status_code == 404
    assert (await api.get(f"{url}/steps/first/output?iteration=x")).status_code == 422


async def test_probes_and_document_are_public(app: FastAPI, door: Door) -> None:
    async with door.client(None) as nobody:
        assert (await nobody.get("/healthz")).json() == {"status": "ok"}
        ready = await nobody.get("/readyz")
        assert ready.status_code == 503
        assert ready.json() == {
            "status": "unready",
            "database": True,
            "temporal": True,
            "worker": False,
        }
        document = (await nobody.get("/openapi.json")).json()
    assert document["paths"]["/healthz"]["get"]["security"] == []
    assert document["security"] == [{"key": []}]
    operation = document["paths"]["/api/workflows/{workflow_id}/run"]["post"]
    refused = {"400", "401", "403", "404", "408", "409", "413", "415", "422", "429", "500", "503"}
    assert set(operation["responses"]) == {"200", "202", *refused}
    reference = operation["responses"]["422"]["content"]["application/json"]["schema"]["$ref"]
    assert reference.endswith("/ErrorOut")


async def test_runs_are_accepted_while_temporal_is_away(
    settings: Settings, unused_tcp_port: int
) -> None:
    async with running(settings, f"127.0.0.1:{unused_tcp_port}") as app:
        door = Door(app, app.state.services.database)
        async with door.client() as api:
            ready = (await api.get("/readyz")).json()
            assert (ready["database"], ready["temporal"]) == (True, False)
            run_id = await started(api)
            run = (await api.get(f"/api/workflows/runs/{run_id}")).json()["run"]
            assert run["status"] == "pending"
