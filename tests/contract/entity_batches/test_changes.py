"""Changing and deleting workflows and jobs on /api/v1, and what became of one entity."""

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
from tests.contract.full_engine.definitions import PATIENT, create_and_run

TYPES = "/api/v1/entity-types"


async def versions(api: httpx2.AsyncClient, workflow_id: str) -> int:
    """How many there are."""
    total: int = (await api.get(f"/api/workflows/wf_{workflow_id}/versions")).json()["total"]
    return total


async def patched(api: httpx2.AsyncClient, workflow_id: str, **body: Any) -> dict[str, Any]:
    answer = await api.patch(f"{WORKFLOWS}/{workflow_id}", json=body)
    assert answer.status_code == 200, answer.text
    row: dict[str, Any] = answer.json()
    assert (await api.get(f"{WORKFLOWS}/{workflow_id}")).json() == row
    return row


async def test_what_is_given_changes_and_makes_a_version(api: httpx2.AsyncClient) -> None:
    await products(api, "One")
    made = await workflow(api, TITLED, description="First.")
    before = (await api.get(f"{WORKFLOWS}/{made}")).json()
    assert await patched(api, made) == before
    assert await patched(api, made, name="Check products", steps=[TITLED]) == before
    assert await versions(api, made) == 1

    assert await patched(api, made, name="Others") == before | {"name": "Others"}
    row = await patched(api, made, description=None, steps=[TITLED, MADE])
    assert (row["description"], row["steps"], row["stepsCount"]) == (None, [TITLED, MADE], 2)
    assert await versions(api, made) == 3
    full = (await api.get(f"/api/workflows/wf_{made}")).json()["workflow"]["definition"]
    assert "description" not in full
    assert full["entity_type"] == before["entityTypeId"]
    assert [step.get("depends_on") for step in full["steps"]] == [None, ["titled"]]

    for status in ("archived", "draft", "active"):
        assert (await patched(api, made, status=status))["status"] == status
    assert await versions(api, made) == 3
    row = await patched(api, made, status="draft", name="Both")
    assert (row["status"], row["name"]) == ("draft", "Both")


async def test_changes_at_the_same_time_are_all_made(api: httpx2.AsyncClient) -> None:
    await products(api)
    made = await workflow(api, TITLED)
    changes: list[dict[str, Any]] = [
        {"name": "Mine"},
        {"description": "Yours."},
        {"steps": [TITLED, MADE]},
    ]
    url = f"{WORKFLOWS}/{made}"
    answers = await asyncio.gather(*(api.patch(url, json=body) for body in changes))
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    row = (await api.get(url)).json()
    assert (row["name"], row["description"], row["stepsCount"]) == ("Mine", "Yours.", 2)
    assert await versions(api, made) == 4


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"steps": []}, "steps"),
        ({"steps": None}, "steps"),
        ({"steps": [{"type": "validate"}]}, "steps[0].config"),
        ({"steps": [{**MADE, "config": {"output": "{{ 1 + }}"}}]}, "steps[0].config.output"),
        ({"steps": [MADE, MADE]}, "steps[0].id"),
        ({"status": "paused"}, "status"),
        ({"status": None}, "status"),
        ({"entityTypeId": "Vendor"}, "entityTypeId"),
    ],
)
async def test_what_is_wrong_changes_nothing(
    api: httpx2.AsyncClient, body: dict[str, Any], place: str
) -> None:
    await products(api)
    made = await workflow(api, MADE)
    before = (await api.get(f"{WORKFLOWS}/{made}")).json()
    answer = await api.patch(f"{WORKFLOWS}/{made}", json={"status": "archived"} | body)
    error = refusal(answer, 400)
    assert error["code"] == "validation_error"
    assert [detail["path"] for detail in error["details"]] == [place]
    assert (await api.get(f"{WORKFLOWS}/{made}")).json() == before


async def test_a_workflow_of_elsewhere_keeps_its_steps(api: httpx2.AsyncClient) -> None:
    answer = await api.post("/api/workflows", json={"definition": PATIENT})
    made = answer.json()["id"].removeprefix("wf_")
    refused = await api.patch(f"{WORKFLOWS}/{made}", json={"steps": [MADE]})
    assert "not for entities" in refusal(refused, 409)["message"]
    assert (await patched(api, made, name="Calm"))["name"] == "Calm"
    full = (await api.get(f"/api/workflows/wf_{made}")).json()["workflow"]["definition"]
    assert full == PATIENT | {"name": "Calm"}


async def test_a_deleted_workflow_is_gone_and_its_jobs_are_cancelled(
    api: httpx2.AsyncClient,
) -> None:
    """There is no worker here."""
    ids = await products(api, "One")
    made = await workflow(api, MADE)
    found = await started(api, made, ids)
    answer = await api.delete(f"{WORKFLOWS}/{made}")
    assert (answer.status_code, answer.json()) == (200, {"id": made, "deleted": True})
    for method in ("GET", "PATCH", "DELETE"):
        body = {} if method == "PATCH" else None
        refusal(await api.request(method, f"{WORKFLOWS}/{made}", json=body), 404)
    assert (await job(api, found))["status"] == "cancelled"


@pytest.mark.usefixtures("worker")
async def test_a_job_that_is_over_can_be_deleted(api: httpx2.AsyncClient) -> None:
    ids = await products(api, "One")
    found = (await until_over(api, await started(api, await workflow(api, MADE), ids)))["id"]
    answer = await api.delete(f"{JOBS}/{found}")
    assert (answer.status_code, answer.json()) == (200, {"id": found, "deleted": True})
    for url in (f"{JOBS}/{found}", f"{JOBS}/{found}/entities"):
        refusal(await api.get(url), 404)
    refusal(await api.delete(f"{JOBS}/{found}"), 404)


async def test_a_job_that_is_not_over_cannot(api: httpx2.AsyncClient) -> None:
    run = (await create_and_run(api, PATIENT)).removeprefix("run_")
    refusal(await api.delete(f"{JOBS}/{run}"), 409)
    assert (await job(api, run))["id"] == run


@pytest.mark.usefixtures("worker")
async def test_what_became_of_one_entity(api: httpx2.AsyncClient) -> None:
    ids = await products(api, "One", None, "Three")
    found = (await until_over(api, await started(api, await workflow(api, TITLED), ids)))["id"]
    rows = (await api.get(f"{JOBS}/{found}/entities")).json()["data"]
    for entity, row in zip(ids, rows, strict=True):
        assert (await api.get(f"{JOBS}/{found}/entities/{entity}")).json() == row
    (other,) = await products(api, "Other")
    for written in (other, "0" * 32, "x", f"cbqsrw_{ids[0][1:]}"):
        refusal(await api.get(f"{JOBS}/{found}/entities/{written}"), 404)
    refusal(await api.get(f"{JOBS}/{'0' * 32}/entities/{ids[0]}"), 404)


async def test_an_entity_is_found_under_the_prefix_of_its_type(api: httpx2.AsyncClient) -> None:
    made = await api.post("/api/v1/entities", json={"entityTypeId": "Vendor", "fields": {}})
    entity = made.json()["id"]
    found = await started(api, await workflow(api, MADE, entityTypeId="Vendor"), [entity])
    for written in (entity, f"cbvndr_{entity}"):
        row = (await api.get(f"{JOBS}/{found}/entities/{written}")).json()
        assert (row["entityId"], row["status"]) == (entity, "pending")


async def test_a_type_that_workflows_run_over_stays(api: httpx2.AsyncClient) -> None:
    await products(api)
    first = await workflow(api, MADE, name="First")
    second = await workflow(api, MADE, name="Second", status="draft")
    await workflow(api, MADE, name="Old", status="archived")
    error = refusal(await api.delete(f"{TYPES}/Product"), 409)
    assert error["message"].endswith("'First', 'Second'.")
    await api.delete(f"{WORKFLOWS}/{first}")
    refusal(await api.delete(f"{TYPES}/Product"), 409)
    await patched(api, second, status="archived")
    assert (await api.delete(f"{TYPES}/Product")).status_code == 200


async def test_who_may(api: httpx2.AsyncClient, door: Door) -> None:
    await products(api)
    made = await workflow(api, MADE)
    run = (await create_and_run(api, PATIENT)).removeprefix("run_")
    async with door.client(await door.key(Role.OPERATOR)) as operator:
        refusal(await operator.patch(f"{WORKFLOWS}/{made}", json={}), 403)
        refusal(await operator.delete(f"{WORKFLOWS}/{made}"), 403)
        refusal(await operator.delete(f"{JOBS}/{run}"), 409)
    async with door.client(await door.key(Role.RUNNER)) as runner:
        refusal(await runner.delete(f"{JOBS}/{run}"), 403)
