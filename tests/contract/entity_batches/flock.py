"""What the tests of batches run: entities, workflows over them, and jobs to wait for."""

import asyncio
from typing import Any

import httpx2

WORKFLOWS = "/api/v1/workflows"
JOBS = "/api/v1/jobs"
TYPE = {"name": "Product", "pluralName": "Products", "fields": [{"name": "title", "type": "text"}]}
TITLED = {
    "id": "titled",
    "type": "validate",
    "config": {"rules": [{"field": "title", "rule": "required"}]},
}
MADE = {"id": "made", "type": "transform", "config": {"output": "{{ entity.fields.title }}"}}


async def products(api: httpx2.AsyncClient, *titles: str | None) -> list[str]:
    """The ids of new entities of the type `Product`, in this order; None for one without title."""
    if (await api.get("/api/v1/entity-types/Product")).status_code == 404:
        assert (await api.post("/api/v1/entity-types", json=TYPE)).status_code == 201
    rows = [{"fields": {} if title is None else {"title": title}} for title in titles]
    done = await api.post(
        "/api/v1/entities/import", json={"entityTypeId": "Product", "entities": rows}
    )
    assert done.json()["imported"] == len(titles), done.text
    found: list[str] = []
    while len(found) < len(titles):
        params = {
            "entityTypeId": "Product",
            "limit": min(200, len(titles) - len(found)),
            "offset": len(found),
        }
        page = (await api.get("/api/v1/entities", params=params)).json()["data"]
        found += [row["id"] for row in page]
    return found[::-1]


async def workflow(api: httpx2.AsyncClient, *steps: dict[str, Any], **more: Any) -> str:
    """The id of a new workflow over the type `Product`."""
    body = {"name": "Check products", "entityTypeId": "Product", "steps": [*steps]} | more
    answer = await api.post(WORKFLOWS, json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def hook(url: str) -> dict[str, Any]:
    """A step that tells somebody of each entity."""
    config = {"channel": "webhook", "url": url, "message": "{{ entity.fields.title }}"}
    return {"id": "tell", "type": "notify", "config": config}


async def started(
    api: httpx2.AsyncClient, workflow_id: str, entity_ids: list[str], **more: Any
) -> str:
    """The id of a new job."""
    body = {"entityIds": entity_ids, **more}
    answer = await api.post(f"{WORKFLOWS}/{workflow_id}/run", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["jobId"])


async def job(api: httpx2.AsyncClient, job_id: str) -> dict[str, Any]:
    """The job as it is."""
    answer = await api.get(f"{JOBS}/{job_id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def until_over(api: httpx2.AsyncClient, job_id: str) -> dict[str, Any]:
    """The job, once it is over."""
    async with asyncio.timeout(60):
        while (found := await job(api, job_id))["status"] in ("pending", "running"):
            assert found["completedAt"] is None
            await asyncio.sleep(0.05)
    return found


async def until_paused(api: httpx2.AsyncClient, job_id: str) -> dict[str, Any]:
    """The job, once it is paused."""
    async with asyncio.timeout(60):
        while not (found := await job(api, job_id))["paused"]:
            await asyncio.sleep(0.05)
    return found


def refusal(answer: httpx2.Response, status: int) -> dict[str, Any]:
    """The error of an answer that has this status."""
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    return error
