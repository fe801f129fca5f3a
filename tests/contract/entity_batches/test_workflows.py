"""/api/v1/workflows over the wire: the list, one, and how they are made; seed 003."""

import json
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest

from engine.roles import Role
from tests.contract.conftest import Door
from tests.contract.full_engine.definitions import QUIET, create_and_run, until

DOCS = Path(__file__).parents[3] / "docs"
WORKFLOWS = "/api/v1/workflows"
TYPE = {"name": "Product", "pluralName": "Products", "fields": [{"name": "title", "type": "text"}]}
RULES = {"rules": [{"field": "title", "rule": "required"}]}
TRANSFORM = {"output": "{{ entity.fields.title }}"}
#: The body of the seed, with everything that it marks as required and nothing else.
SEED: dict[str, Any] = {
    "name": "Check products",
    "entityTypeId": "Product",
    "steps": [{"type": "validate", "config": RULES}, {"type": "transform", "config": TRANSFORM}],
}
SHOWN = ["id", "name", "description", "status", "stepsCount", "lastRunAt"]


@pytest.fixture
async def product(api: httpx2.AsyncClient) -> str:
    """The id of the type `Product`."""
    answer = await api.post("/api/v1/entity-types", json=TYPE)
    assert answer.status_code == 201
    return str(answer.json()["id"])


async def created(api: httpx2.AsyncClient, **more: Any) -> dict[str, Any]:
    answer = await api.post(WORKFLOWS, json=SEED | more)
    assert answer.status_code == 201, answer.text
    row: dict[str, Any] = answer.json()
    return row


async def refused(api: httpx2.AsyncClient, **more: Any) -> list[str]:
    """The places that are told of when the body is refused."""
    body = {key: value for key, value in (SEED | more).items() if value is not ...}
    answer = await api.post(WORKFLOWS, json=body)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["code"] == "validation_error"
    assert error["message"]
    return [detail["path"] for detail in error["details"]]


async def test_b_q2_single_objects_are_flat_and_lists_are_wrapped(
    api: httpx2.AsyncClient, product: str
) -> None:
    row = await created(api)
    assert [*row] == [*SHOWN, "entityTypeId", "steps"]
    assert (await api.get(f"{WORKFLOWS}/{row['id']}")).json() == row
    page = (await api.get(WORKFLOWS)).json()
    steps = row.pop("steps")
    assert [step["type"] for step in steps] == ["validate", "transform"]
    assert page == {"data": [row], "total": 1, "hasMore": False}
    assert row == {
        "id": row["id"],
        "name": "Check products",
        "description": None,
        "status": "active",
        "stepsCount": 2,
        "lastRunAt": None,
        "entityTypeId": product,
    }


@pytest.mark.usefixtures("product")
async def test_b_q3_reads_are_200_and_create_is_201(api: httpx2.AsyncClient) -> None:
    answer = await api.post(WORKFLOWS, json=SEED)
    assert answer.status_code == 201
    url = f"{WORKFLOWS}/{answer.json()['id']}"
    assert answer.headers["location"] == url
    assert (await api.get(url)).status_code == 200
    assert (await api.get(WORKFLOWS)).status_code == 200


async def test_b_q4_malformed_and_invalid_are_both_400(api: httpx2.AsyncClient, door: Door) -> None:
    broken = await api.post(
        WORKFLOWS, content=b'{"name"', headers={"content-type": "application/json"}
    )
    assert broken.status_code == 400
    invalid = await api.post(WORKFLOWS, json={})
    assert invalid.status_code == 400
    assert invalid.json()["error"]["code"] == "validation_error"
    assert invalid.json()["error"]["message"].startswith("name: ")
    async with door.client(None) as nobody:
        answer = await nobody.get(WORKFLOWS)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
    for written in ("0" * 32, "x", f"wf_{'0' * 32}"):
        missing = await api.get(f"{WORKFLOWS}/{written}")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")


async def test_b_q5_another_project_is_403(api: httpx2.AsyncClient) -> None:
    answer = await api.get(WORKFLOWS, headers={"X-Project-Id": "another"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")


@pytest.mark.usefixtures("product")
async def test_b_q6_a_workflow_is_active_unless_it_is_said_otherwise(
    api: httpx2.AsyncClient,
) -> None:
    made = [await created(api, status=status) for status in ("active", "draft", "archived")]
    assert [row["status"] for row in made] == ["active", "draft", "archived"]
    assert (await created(api))["status"] == "active"
    assert await refused(api, status="paused") == ["status"]


@pytest.mark.usefixtures("product")
async def test_b_q7_what_is_wrong_is_named(api: httpx2.AsyncClient) -> None:
    fine = SEED["steps"][0]
    assert await refused(api, steps=[fine, {"type": "validate"}]) == ["steps[1].config"]
    assert await refused(api, steps=[{"config": {}}]) == ["steps[0].type"]
    assert await refused(api, steps=[{"type": "wait", "config": {}}]) == ["steps[0].type"]
    assert await refused(api, steps=[]) == ["steps"]
    assert await refused(api, steps=...) == ["steps"]
    assert await refused(api, entityTypeId="Nothing") == ["entityTypeId"]
    assert await refused(api, entityTypeId="0" * 32) == ["entityTypeId"]
    assert await refused(api, entityTypeId="a\u2028b") == ["entityTypeId"]
    assert await refused(api, entityTypeId=...) == ["entityTypeId"]
    assert await refused(api, name=..., colour="red") == ["name", "colour"]
    # Each at once, also inside of a configuration.
    rules = {"rules": [{"field": "title", "rule": "min"}, {"rule": "required"}]}
    places = await refused(
        api,
        entityTypeId="Nothing",
        steps=[
            {"type": "validate", "config": rules},
            {"type": "transform", "config": {"output": "{{ event.name }}"}, "when": "1 +"},
        ],
    )
    assert "steps[0].config.rules[1].field" in places
    assert places[-3:] == ["steps[1].config.output", "steps[1].when", "entityTypeId"]


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({"enabled": "no"}, "enabled"),
        ({"enabled": 1}, "enabled"),
        ({"timeout": "5"}, "timeout"),
        ({"timeout": "nan"}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"retry": {"maxAttempts": True}}, "retry.maxAttempts"),
        ({"retry": {"maxAttempts": "3"}}, "retry.maxAttempts"),
        ({"retry": {"maxAttempts": 3.0}}, "retry.maxAttempts"),
        ({"retry": {"delay": True}}, "retry.delay"),
        ({"retry": {"maxDelay": "1"}}, "retry.maxDelay"),
        ({"config": RULES | {"onFail": True}}, "config.onFail"),
    ],
)
@pytest.mark.usefixtures("product")
async def test_a_text_is_no_number_and_a_number_no_boolean(
    api: httpx2.AsyncClient, more: dict[str, Any], place: str
) -> None:
    steps = [SEED["steps"][0], SEED["steps"][0] | more]
    assert await refused(api, steps=steps) == [f"steps[1].{place}"]


@pytest.mark.usefixtures("product")
async def test_places_are_spelled_one_way_in_paths_and_sentences(api: httpx2.AsyncClient) -> None:
    rules = {"rules": [{"field": "title", "rule": "min"}, {"rule": "required"}]}
    answer = await api.post(
        WORKFLOWS,
        json=SEED | {"entityTypeId": "No", "steps": [{"type": "validate", "config": rules}]},
    )
    assert answer.json()["error"]["details"] == [
        {
            "path": "steps[0].config.rules[0]",
            "message": "Step 'step_1': config.rules[0]: "
            "'min' takes a number or a text, such as a date",
        },
        {
            "path": "steps[0].config.rules[1].field",
            "message": "Step 'step_1': 'field' is missing in config.rules[1]",
        },
        {"path": "entityTypeId", "message": "entityTypeId: there is no such entity type"},
    ]
    bucket = {"name": "site", "kind": "webhook", "config": {"url": "x"}}
    error = (await api.post("/api/v1/buckets", json=bucket)).json()["error"]
    assert error["details"] == [
        {"path": "config.url", "message": "config.url: must be an http or https URL"}
    ]
    fields = [{"name": "a", "type": "text"}, {"name": "b", "type": "x"}]
    error = (await api.post("/api/v1/entity-types", json=TYPE | {"fields": fields})).json()["error"]
    (detail,) = error["details"]
    assert detail["path"] == "fields[1].type"
    assert detail["message"].startswith("fields[1].type: must be one of ")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ([], "body: must be an object"),
        ({**SEED, "steps": []}, "steps: needs at least 1 item"),
        ({**SEED, "steps": {}}, "steps: must be a list"),
        ({**SEED, "steps": [7]}, "steps[0]: must be an object"),
        ({**SEED, "steps": [{"type": "validate"}]}, "steps[0].config: is required"),
        ({**SEED, "colour": 1}, "colour: is not known here"),
        ({**SEED, "name": ""}, "name: needs at least 1 character"),
        ({**SEED, "name": "a\nb"}, "name: must have no control characters"),
        ({**SEED, "status": "x"}, "status: must be 'active', 'draft' or 'archived'"),
    ],
)
@pytest.mark.usefixtures("product")
async def test_sentences_are_for_who_writes_the_request(
    api: httpx2.AsyncClient, body: Any, sentence: str
) -> None:
    error = (await api.post(WORKFLOWS, json=body)).json()["error"]
    assert error["message"] == sentence


@pytest.mark.usefixtures("product")
async def test_b_q7_the_message_names_the_place(api: httpx2.AsyncClient) -> None:
    answer = await api.post(WORKFLOWS, json=SEED | {"steps": [{"config": {}}]})
    error = answer.json()["error"]
    assert error["message"] == error["details"][0]["message"]
    assert error["message"].startswith("steps[0].type: ")


@pytest.mark.usefixtures("product")
async def test_b_q8_ids_of_steps_are_made_where_there_are_none(api: httpx2.AsyncClient) -> None:
    fine = SEED["steps"][0]
    named = [fine | {"id": "step_2"}, fine, fine | {"id": "last"}, fine]
    row = await created(api, steps=named)
    assert [step["id"] for step in row["steps"]] == ["step_2", "step_2_", "last", "step_4"]
    twice = [fine | {"id": "a"}, fine | {"id": "b"}, fine | {"id": "a"}]
    assert await refused(api, steps=twice) == ["steps[0].id"]
    assert await refused(api, steps=[fine | {"id": "A b"}]) == ["steps[0].id"]


@pytest.mark.usefixtures("worker")
async def test_b_q13_last_run_at_is_when_the_latest_run_began(api: httpx2.AsyncClient) -> None:
    run = await until(api, await create_and_run(api, QUIET), "completed")
    (row,) = (await api.get(WORKFLOWS)).json()["data"]
    assert row["id"] == run["workflow_id"].removeprefix("wf_")
    assert type(row["lastRunAt"]) is int
    whole = (await api.get(f"{WORKFLOWS}/{row['id']}")).json()
    assert whole["lastRunAt"] == row["lastRunAt"]


@pytest.mark.usefixtures("product")
async def test_b_q16_a_key_that_reads_may_not_write(api: httpx2.AsyncClient, door: Door) -> None:
    row = await created(api)
    async with door.client(await door.key(Role.VIEWER)) as reader:
        answer = await reader.post(WORKFLOWS, json=SEED)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
        assert (await reader.get(f"{WORKFLOWS}/{row['id']}")).json() == row


async def test_what_a_step_may_say_besides_comes_back_as_it_was_given(
    api: httpx2.AsyncClient, product: str
) -> None:
    steps = [
        {
            "id": "check",
            "type": "validate",
            "config": RULES | {"colour": "{{ red", "onFail": "skip"},
            "name": "Check",
            "description": "Looks at it.",
            "enabled": False,
            "when": "entity.fields.title != ''",
            "timeout": 2.5,
            "retry": {"maxAttempts": 4, "delay": 0, "backoff": "linear", "maxDelay": 9.5},
            "onError": "continue",
        },
        {"id": "cut", "type": "transform", "config": TRANSFORM, "retry": {"delay": 1}},
    ]
    row = await created(api, steps=steps, description="All of them.")
    assert (row["steps"], row["description"]) == (steps, "All of them.")
    full = (await api.get(f"/api/workflows/wf_{row['id']}")).json()["workflow"]["definition"]
    assert full["entity_type"] == product
    assert [step.get("depends_on") for step in full["steps"]] == [None, ["check"]]
    assert full["steps"][0]["on_error"] == "continue"
    assert full["steps"][1]["retry"] == {"delay": 1}


@pytest.mark.usefixtures("product")
async def test_the_example_of_the_page_is_taken(api: httpx2.AsyncClient) -> None:
    page = DOCS / "reference" / "api-batches.md"
    blocks = re.findall(r"^```json\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    (body,) = (found for found in map(json.loads, blocks) if "steps" in found)
    answer = await api.post(WORKFLOWS, json=body | {"entityTypeId": "Product"})
    assert answer.status_code == 201
    missing = {"type": "validate"}
    refusal = await api.post(WORKFLOWS, json=SEED | {"steps": [body["steps"][0], missing]})
    assert refusal.json() in map(json.loads, blocks)


@pytest.mark.usefixtures("product")
async def test_the_same_key_makes_one_workflow(api: httpx2.AsyncClient) -> None:
    headers = {"Idempotency-Key": "k-1"}
    first = await api.post(WORKFLOWS, json=SEED, headers=headers)
    again = await api.post(WORKFLOWS, json=SEED, headers=headers)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    other = await api.post(WORKFLOWS, json=SEED | {"name": "Other"}, headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert (await api.get(WORKFLOWS)).json()["total"] == 1


@pytest.mark.usefixtures("product")
async def test_pages_are_narrowed_and_counted(api: httpx2.AsyncClient) -> None:
    made = [await created(api, name=f"w{n}") for n in range(3)]
    draft = await created(api, status="draft")
    answer = await api.post("/api/workflows", json={"definition": QUIET, "status": "paused"})
    paused = answer.json()["id"].removeprefix("wf_")
    page = (await api.get(WORKFLOWS, params={"limit": 2, "offset": 1})).json()
    assert [row["id"] for row in page["data"]] == [draft["id"], made[2]["id"]]
    assert (page["total"], page["hasMore"]) == (5, True)
    drafts = (await api.get(WORKFLOWS, params={"status": "draft"})).json()
    assert [row["id"] for row in drafts["data"]] == [paused, draft["id"]]
    assert {row["status"] for row in drafts["data"]} == {"draft"}
    assert (await api.get(WORKFLOWS, params={"status": "archived"})).json()["total"] == 0
    for wrong in ({"status": "paused"}, {"limit": 0}, {"limit": 201}, {"offset": -1}):
        answer = await api.get(WORKFLOWS, params=wrong)
        assert answer.status_code == 400
        assert answer.json()["error"]["details"][0]["path"] == f"query.{next(iter(wrong))}"


async def test_a_workflow_of_elsewhere_keeps_its_own_types(api: httpx2.AsyncClient) -> None:
    definition = {
        "name": "Elsewhere",
        "steps": [
            {"id": "day", "type": "wait", "config": {"duration": 1}, "on_error": "pause"},
            {"id": "tell", "type": "transform", "config": {"output": 1}, "depends_on": ["day"]},
        ],
    }
    answer = await api.post("/api/workflows", json={"definition": definition})
    row = (await api.get(f"{WORKFLOWS}/{answer.json()['id'].removeprefix('wf_')}")).json()
    assert row["entityTypeId"] is None
    assert row["steps"] == [
        {"id": "day", "type": "wait", "config": {"duration": 1}, "onError": "pause"},
        {"id": "tell", "type": "transform", "config": {"output": 1}},
    ]
