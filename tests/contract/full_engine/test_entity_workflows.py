"""Definitions for entities on /api/workflows: their type is there, and nothing else starts them."""

import time
from typing import Any

import httpx2
import pytest

from engine.roles import Role
from tests.contract.conftest import Door

URL = "/api/workflows"
STEPS = [{"id": "a", "type": "transform", "config": {"output": "{{ entity.id }}", "colour": 1}}]
PLAIN: dict[str, Any] = {"name": "Each", "steps": [{**STEPS[0], "config": {"output": 1}}]}
EACH: dict[str, Any] = {"name": "Each", "steps": STEPS, "entity_type": "Vendor"}


@pytest.fixture
async def vendor(api: httpx2.AsyncClient) -> str:
    """The id of the type `Vendor`."""
    return str((await api.get("/api/v1/entity-types/Vendor")).json()["id"])


async def created(api: httpx2.AsyncClient, definition: dict[str, Any], **more: Any) -> str:
    answer = await api.post(URL, json={"definition": definition, **more})
    assert answer.status_code == 201, answer.text
    return f"{URL}/{answer.json()['id']}"


def paths(answer: httpx2.Response) -> list[str]:
    assert answer.status_code == 422, answer.text
    return [problem["path"] for problem in answer.json()["problems"]]


async def test_the_type_is_named_by_id_or_name_and_kept_as_its_id(
    api: httpx2.AsyncClient, vendor: str
) -> None:
    for named in (vendor, "Vendor"):
        answer = await api.post(URL, json={"definition": EACH | {"entity_type": named}})
        told = answer.json()["workflow"]["definition"]
        assert told == EACH | {"entity_type": vendor}
        read = (await api.get(f"{URL}/{answer.json()['id']}")).json()["workflow"]["definition"]
        assert read == told


@pytest.mark.parametrize("named", ["Nothing", "0" * 32, "a\u0000", ""])
async def test_a_type_that_is_not_there_is_told_of_everywhere(
    api: httpx2.AsyncClient, named: str
) -> None:
    definition = EACH | {"entity_type": named}
    url = await created(api, PLAIN)
    for answer in (
        await api.post(URL, json={"definition": definition}),
        await api.put(url, json={"definition": definition}),
    ):
        assert "entity_type" in paths(answer)
    said = (await api.post(f"{URL}/validate", json={"definition": definition})).json()
    assert "entity_type" in [problem["path"] for problem in said["problems"]]


async def test_a_type_of_another_organisation_is_not_there(
    api: httpx2.AsyncClient, door: Door
) -> None:
    body = {"name": "Thing", "pluralName": "Things", "fields": []}
    mine = (await api.post("/api/v1/entity-types", json=body)).json()["id"]
    async with door.client(await door.key(Role.EDITOR, "other")) as stranger:
        definition = EACH | {"entity_type": mine}
        answer = await stranger.post(URL, json={"definition": definition})
        assert paths(answer) == ["entity_type"]


async def test_a_version_and_a_template_whose_type_is_gone_are_refused(
    api: httpx2.AsyncClient,
) -> None:
    body = {"name": "Thing", "pluralName": "Things", "fields": []}
    kind = (await api.post("/api/v1/entity-types", json=body)).json()["id"]
    url = await created(api, EACH | {"entity_type": kind})
    template = (
        await api.post(
            f"{URL}/templates", json={"workflow_id": url.rpartition("/")[2], "category": "x"}
        )
    ).json()["template_id"]
    assert (await api.put(url, json={"definition": PLAIN})).status_code == 200
    assert (await api.post(f"{url}/rollback", json={"version": 1})).status_code == 200
    # While a workflow is over it, the type stays.
    assert (await api.delete(f"/api/v1/entity-types/{kind}")).status_code == 409
    assert (await api.put(url, json={"definition": PLAIN})).status_code == 200
    assert (await api.delete(f"/api/v1/entity-types/{kind}")).status_code == 200
    assert paths(await api.post(f"{url}/rollback", json={"version": 1})) == ["entity_type"]
    assert paths(await api.post(f"{URL}/templates/{template}/install")) == ["entity_type"]


async def test_nothing_but_a_list_of_entities_starts_it(api: httpx2.AsyncClient) -> None:
    bound = {"trigger": {"event": "Vendor.Created"}, "trigger_type": "event"}
    for more in (bound, {"trigger_type": "schedule"}, {"trigger_type": "webhook"}):
        answer = await api.post(URL, json={"definition": EACH, **more})
        assert paths(answer) == ["trigger_type"]
    url = await created(api, PLAIN, **bound)
    assert paths(await api.put(url, json={"definition": EACH})) == ["trigger_type"]
    answer = await api.put(url, json={"definition": EACH, "trigger_type": "manual"})
    assert answer.status_code == 200
    assert answer.json()["workflow"]["trigger"] is None


async def test_it_has_no_schedule_and_no_start_in_the_future(api: httpx2.AsyncClient) -> None:
    url = await created(api, EACH)
    cron = {"cron_expression": "0 9 * * *"}
    answer = await api.post(f"{url}/schedules", json=cron)
    assert (answer.status_code, answer.json()["error"]) == (409, "conflict")
    later = {"scheduled_for": int(time.time()) + 86_400}
    answer = await api.post("/v1/workflows/Each/schedule", json=later)
    assert answer.status_code == 400
    assert answer.json()["detail"]["code"] == "workflow_not_direct_runnable"


async def test_a_workflow_with_schedules_does_not_become_one(api: httpx2.AsyncClient) -> None:
    url = await created(api, PLAIN)
    answer = await api.post(f"{url}/schedules", json={"cron_expression": "0 9 * * *"})
    schedule = answer.json()["schedule_id"]
    answer = await api.put(url, json={"definition": EACH})
    assert (answer.status_code, answer.json()["error"]) == (409, "conflict")
    assert (await api.get(url)).json()["workflow"]["version"] == 1
    await api.delete(f"{URL}/schedules/{schedule}")
    later = {"scheduled_for": int(time.time()) + 86_400}
    start = (await api.post("/v1/workflows/Each/schedule", json=later)).json()["id"]
    assert (await api.put(url, json={"definition": EACH})).status_code == 409
    await api.delete(f"/v1/workflows/schedules/{start}")
    assert (await api.put(url, json={"definition": EACH})).status_code == 200
