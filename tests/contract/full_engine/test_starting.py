"""Starting with an input schema, and waiting for the end in the same call."""

import asyncio
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from app.services import stream
from app.services.stream import Tail
from engine.roles import Role
from tests.contract.conftest import ADMIN, Door, serving
from tests.contract.full_engine.definitions import PATIENT, QUIET, create_and_run, until

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["dataset_id"],
    "additionalProperties": False,
    "properties": {
        "dataset_id": {"type": "string", "pattern": "^ds_[0-9]+$"},
        "rows": {"type": "array", "items": {"type": "integer"}},
        "mode": {"enum": ["full", "delta"], "default": "full"},
    },
}
STRICT = QUIET | {"input_schema": SCHEMA, "output": "{{ input }}"}


async def created(api: httpx2.AsyncClient, definition: dict[str, Any]) -> str:
    answer = await api.post("/api/workflows", json={"definition": definition})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


# --- input_schema -----------------------------------------------------------------------------


async def test_an_input_that_does_not_fit_is_a_422_that_says_everything(
    api: httpx2.AsyncClient,
) -> None:
    workflow = await created(api, STRICT)
    url = f"/api/workflows/{workflow}/run"
    wrong = {"dataset_id": "S3CRET", "rows": [1, "S3CRET"], "other": 1}
    answer = await api.post(
        url, json={"input_data": wrong}, headers={"idempotency-key": "k"}, params={"wait": 1}
    )
    assert answer.status_code == 422
    body = answer.json()
    assert body["error"] == "validation_error"
    assert sorted(problem["path"] for problem in body["problems"]) == [
        "input_data",
        "input_data.dataset_id",
        "input_data.rows.1",
    ]
    assert body["errors"] == [problem["message"] for problem in body["problems"]]
    assert "S3CRET" not in answer.text
    assert (await api.post(url)).status_code == 422
    assert (await api.get(f"/api/workflows/{workflow}/runs")).json()["total"] == 0
    # A refused start has not used the key up.
    fits = {"input_data": {"dataset_id": "ds_123"}}
    assert (await api.post(url, json=fits, headers={"idempotency-key": "k"})).status_code == 202
    again = await api.post(url, json=fits, headers={"idempotency-key": "k"})
    assert again.headers["idempotent-replayed"] == "true"


async def test_defaults_are_not_filled_in(api: httpx2.AsyncClient) -> None:
    run_id = await create_and_run(api, STRICT, input_data={"dataset_id": "ds_1"})
    run = (await api.get(f"/api/workflows/runs/{run_id}")).json()["run"]
    assert run["input_data"] == {"dataset_id": "ds_1"}


async def test_a_schema_that_is_none_is_a_422(api: httpx2.AsyncClient) -> None:
    wrong = QUIET | {
        "input_schema": {"properties": {"a": {"type": "text"}, "b": {"pattern": "(?=x)"}}}
    }
    answer = await api.post("/api/workflows", json={"definition": wrong})
    assert answer.status_code == 422
    (problem,) = answer.json()["problems"]
    assert (problem["step"], problem["path"]) == (None, "input_schema.properties.a.type")
    validated = await api.post("/api/workflows/validate", json={"definition": wrong})
    assert validated.json()["problems"] == answer.json()["problems"]


# --- waiting ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("worker")
async def test_a_start_can_wait_for_the_finished_run(api: httpx2.AsyncClient) -> None:
    url = f"/api/workflows/{await created(api, QUIET)}/run"
    answer = await api.post(url, params={"wait": 30})
    assert answer.status_code == 200, answer.text
    assert [*answer.json()] == ["run_id", "run"]
    run = answer.json()["run"]
    assert run["id"] == answer.json()["run_id"]
    assert (run["status"], run["output"]) == ("completed", 1)
    assert [step["status"] for step in run["step_runs"]] == ["completed", "completed"]
    assert answer.headers["location"] == f"/api/workflows/runs/{run['id']}"
    seen = await api.get(answer.headers["location"])
    assert seen.json()["run"] == run


@pytest.mark.usefixtures("worker")
async def test_a_failed_run_is_over_as_well(api: httpx2.AsyncClient) -> None:
    bad = {"id": "bad", "type": "transform", "config": {"output": "{{ input.nothing.here }}"}}
    url = f"/api/workflows/{await created(api, {'name': 'Fails', 'steps': [bad]})}/run"
    answer = await api.post(url, params={"wait": 30})
    assert (answer.status_code, answer.json()["run"]["status"]) == (200, "failed")


@pytest.mark.usefixtures("worker")
async def test_a_run_that_takes_longer_is_a_202_with_the_run_as_it_is(
    api: httpx2.AsyncClient,
) -> None:
    url = f"/api/workflows/{await created(api, PATIENT)}/run"
    answer = await api.post(url, params={"wait": 1})
    assert answer.status_code == 202
    run = answer.json()["run"]
    assert run["id"] == answer.json()["run_id"]
    assert run["status"] in ("pending", "running")
    assert len(run["step_runs"]) == 3


@pytest.mark.usefixtures("worker")
async def test_a_replay_waits_too_and_its_remembered_answer_is_the_plain_one(
    api: httpx2.AsyncClient,
) -> None:
    url = f"/api/workflows/{await created(api, QUIET)}/run"
    key = {"idempotency-key": "k"}
    first = await api.post(url, headers=key, params={"wait": 30})
    assert first.status_code == 200
    again = await api.post(url, headers=key, params={"wait": 30})
    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["idempotent-replayed"] == "true"
    plain = await api.post(url, headers=key)
    assert (plain.status_code, plain.json()) == (202, {"run_id": first.json()["run_id"]})
    # Of a run that was deleted there is nothing to wait for.
    await api.delete(f"/api/workflows/runs/{first.json()['run_id']}")
    gone = await api.post(url, headers=key, params={"wait": 30})
    assert (gone.status_code, gone.content) == (202, plain.content)


@pytest.mark.parametrize("wait", ["0", "61", "x", "1.5", "-1"])
async def test_a_wait_is_1_to_60_whole_seconds(api: httpx2.AsyncClient, wait: str) -> None:
    workflow = await created(api, QUIET)
    answer = await api.post(f"/api/workflows/{workflow}/run", params={"wait": wait})
    assert answer.status_code == 422
    assert (await api.get(f"/api/workflows/{workflow}/runs")).json()["total"] == 0


async def test_somebody_else_may_end_the_run(api: httpx2.AsyncClient) -> None:
    """No worker is there; the waiting is woken by what is written, not by a worker."""
    workflow = await created(api, QUIET)
    waiting = asyncio.create_task(api.post(f"/api/workflows/{workflow}/run", params={"wait": 60}))
    async with asyncio.timeout(30):
        while not (page := (await api.get(f"/api/workflows/{workflow}/runs")).json())["runs"]:
            await asyncio.sleep(0.02)
        await api.post(f"/api/workflows/runs/{page['runs'][0]['id']}/cancel")
        answer = await waiting
    assert (answer.status_code, answer.json()["run"]["status"]) == (200, "cancelled")


def held(tail: Tail) -> int:
    return sum(tail._of_key.values())


async def test_a_client_that_goes_ends_the_waiting(app: FastAPI, door: Door) -> None:
    tail: Tail = app.state.services.tail
    async with serving(app) as url, door.client() as api:
        workflow = await created(api, QUIET)
        client = httpx2.AsyncClient(
            base_url=url, headers={"authorization": f"Bearer {ADMIN}"}, timeout=30
        )
        waiting = asyncio.create_task(
            client.post(f"/api/workflows/{workflow}/run", params={"wait": 60})
        )
        async with asyncio.timeout(30):
            while not held(tail):
                await asyncio.sleep(0.02)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            await client.aclose()
            while held(tail):
                await asyncio.sleep(0.02)
        assert (await api.get(f"/api/workflows/{workflow}/runs")).json()["total"] == 1


async def test_a_key_waits_so_often_and_no_more(
    api: httpx2.AsyncClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "MOST_OF_A_KEY", 2)
    workflow = await created(api, QUIET)
    url = f"/api/workflows/{workflow}/run"
    waiting = [asyncio.create_task(api.post(url, params={"wait": 60})) for _ in range(2)]
    async with asyncio.timeout(30):
        while held(app.state.services.tail) < 2:
            await asyncio.sleep(0.02)
        refused = await api.post(url, params={"wait": 60})
        assert (refused.status_code, refused.json()["error"]) == (429, "too_many_streams")
        while (page := (await api.get(f"/api/workflows/{workflow}/runs")).json())["total"] < 2:
            await asyncio.sleep(0.02)
        for run in page["runs"]:
            await api.post(f"/api/workflows/runs/{run['id']}/cancel")
        assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}
    # What was refused has started nothing, and without waiting it may start.
    assert (await api.get(f"/api/workflows/{workflow}/runs")).json()["total"] == 2
    assert (await api.post(url)).status_code == 202


async def test_a_runner_may_wait(api: httpx2.AsyncClient, door: Door) -> None:
    url = f"/api/workflows/{await created(api, QUIET)}/run"
    async with door.client(await door.key(Role.RUNNER)) as runner:
        answer = await runner.post(url, params={"wait": 1})
        assert answer.status_code == 202
        run_id = answer.json()["run_id"]
        assert answer.json()["run"]["status"] == "pending"
    assert (await until(api, run_id, "pending"))["id"] == run_id
