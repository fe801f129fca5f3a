"""`/api/agents`, and the seed's workflow that gives a task to one."""

import copy
from typing import Any

import httpx2
import pytest

from app.settings import Settings
from engine.roles import Role
from tests.contract.conftest import Door, working
from tests.contract.full_engine.definitions import until
from tests.model_server import TOKENS, ModelServer, Says
from tests.receiver import Receiver

SPEC: dict[str, Any] = {
    "name": "summariser",
    "model": "openai:test-model",
    "instructions": "Be brief.",
    "tools": ["http_request"],
    "hosts": ["api.example.com", "*.example.org"],
    "secret": "MODEL_KEY",
    "settings": {"temperature": 0.2, "max_output_tokens": 500},
    "budget": {"max_requests": 5, "max_total_tokens": 10_000, "max_seconds": 60},
    "output_schema": {"type": "object", "properties": {"text": {"type": "string"}}},
}
#: Seed 004, "Create a workflow".
SEED: dict[str, Any] = {
    "definition": {
        "name": "Fetch and notify",
        "steps": [
            {
                "id": "fetch",
                "type": "http_request",
                "config": {"method": "GET", "url": "https://api.example.com/data"},
            },
            {
                "id": "notify",
                "type": "agent_task",
                "config": {
                    "agent_id": "agent_123",
                    "goal": "Summarize the fetched data and post to Slack",
                },
                "depends_on": ["fetch"],
            },
        ],
    },
    "trigger_type": "manual",
    "tags": ["notifications"],
}


async def create(api: httpx2.AsyncClient, **body: Any) -> dict[str, Any]:
    created = await api.post("/api/agents", json={"name": "one"} | body)
    assert created.status_code == 201, created.text
    agent: dict[str, Any] = created.json()["agent"]
    return agent


async def test_an_agent_is_created_read_replaced_and_deleted(api: httpx2.AsyncClient) -> None:
    created = await api.post("/api/agents", json=SPEC)
    assert created.status_code == 201
    agent = created.json()["agent"]
    path = f"/api/agents/{agent['id']}"
    assert created.json()["id"] == agent["id"]
    assert created.headers["location"] == path
    assert agent["id"].startswith("agent_")
    assert {key: agent[key] for key in SPEC} == SPEC
    assert (await api.get(path)).json() == {"agent": agent}

    replaced = await api.put(path, json={"name": "other"})
    assert replaced.status_code == 200
    now = replaced.json()["agent"]
    assert (now["id"], now["name"], now["model"], now["tools"]) == (agent["id"], "other", None, [])
    assert now["budget"] == {"max_requests": None, "max_total_tokens": None, "max_seconds": None}
    assert now["created_at"] == agent["created_at"]

    deleted = await api.delete(path)
    assert (deleted.status_code, deleted.json()) == (200, {"deleted": True})
    for again in (await api.get(path), await api.delete(path), await api.put(path, json=SPEC)):
        assert (again.status_code, again.json()["error"]) == (404, "not_found")


async def test_agents_are_listed_page_by_page(api: httpx2.AsyncClient) -> None:
    for name in ("a", "b", "c"):
        await create(api, name=name)
    page = (await api.get("/api/agents", params={"limit": 2})).json()
    assert ([agent["name"] for agent in page["agents"]], page["total"]) == (["c", "b"], 3)
    page = (await api.get("/api/agents", params={"limit": 2, "offset": 2})).json()
    assert ([agent["name"] for agent in page["agents"]], page["total"]) == (["a"], 3)
    assert (await api.get("/api/agents", params={"limit": 201})).status_code == 422


async def test_a_name_is_used_once(api: httpx2.AsyncClient) -> None:
    await create(api, name="a")
    other = await create(api, name="b")
    for answer in (
        await api.post("/api/agents", json={"name": "a"}),
        await api.put(f"/api/agents/{other['id']}", json={"name": "a"}),
    ):
        assert (answer.status_code, answer.json()["error"]) == (409, "conflict")
    same = await api.put(f"/api/agents/{other['id']}", json={"name": "b", "instructions": "x"})
    assert same.status_code == 200


async def test_another_organisation_sees_nothing_of_it(door: Door, api: httpx2.AsyncClient) -> None:
    agent = await create(api)
    async with door.client(await door.key(Role.ADMIN, "other")) as other:
        for answer in (
            await other.get(f"/api/agents/{agent['id']}"),
            await other.put(f"/api/agents/{agent['id']}", json=SPEC),
            await other.delete(f"/api/agents/{agent['id']}"),
        ):
            assert answer.status_code == 404
        assert (await other.get("/api/agents")).json() == {"agents": [], "total": 0}
        await create(other, name="one")


async def test_who_may_what(door: Door, api: httpx2.AsyncClient) -> None:
    agent = await create(api)
    path = f"/api/agents/{agent['id']}"
    async with door.client(await door.key(Role.OPERATOR)) as reader:
        assert (await reader.get("/api/agents")).status_code == 200
        assert (await reader.get(path)).status_code == 200
        for answer in (
            await reader.post("/api/agents", json=SPEC),
            await reader.put(path, json=SPEC),
            await reader.delete(path),
        ):
            assert answer.status_code == 403
    async with door.client(await door.key(Role.EDITOR)) as editor:
        assert (await editor.put(path, json=SPEC)).status_code == 200
    async with door.client(None) as nobody:
        assert (await nobody.get("/api/agents")).status_code == 401


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"name": "agent_" + "0" * 32}, "name"),
        ({"model": "gpt-7"}, "model"),
        ({"model": "azure:gpt"}, "model"),
        ({"tools": ["shell"]}, "tools.0"),
        ({"hosts": ["https://example.com/"]}, "hosts.0"),
        ({"instructions": "a\x00b"}, "instructions"),
        ({"secret": "not a name"}, "secret"),
        ({"settings": {"temperature": 3}}, "settings.temperature"),
        ({"budget": {"max_requests": 0}}, "budget.max_requests"),
        ({"budget": {"surprise": 1}}, "budget.surprise"),
        ({"output_schema": {"type": "string"}}, "output_schema"),
        ({"output_schema": {"type": "object", "properties": 7}}, "output_schema"),
        ({"surprise": 1}, "surprise"),
    ],
)
async def test_what_is_not_an_agent(
    api: httpx2.AsyncClient, wrong: dict[str, Any], where: str
) -> None:
    answer = await api.post("/api/agents", json=SPEC | wrong)
    assert answer.status_code == 422
    assert answer.json()["problems"][0]["path"] == f"body.{where}"
    assert (await api.get("/api/agents")).json()["total"] == 0


async def test_the_seed_s_workflow(
    api: httpx2.AsyncClient, settings: Settings, temporal: str, receiver: Receiver
) -> None:
    """It validates and is created as it stands; its run fetches from here, as nobody may there."""
    validated = await api.post("/api/workflows/validate", json={"definition": SEED["definition"]})
    assert validated.json() == {"valid": True, "errors": [], "problems": []}
    created = await api.post("/api/workflows", json=SEED)
    assert created.status_code == 201
    assert created.json()["workflow"]["tags"] == ["notifications"]

    await create(api, name="agent_123")
    here = copy.deepcopy(SEED)
    here["definition"]["steps"][0]["config"]["url"] = receiver.url("/data")
    created = await api.post("/api/workflows", json=here)
    async with ModelServer([Says("Posted summary to #general")]) as server:
        variables = server.settings() | {"SIGNALBOX_EGRESS_ALLOW": "127.0.0.0/8"}
        async with working(settings, temporal, variables):
            path = f"/api/workflows/{created.json()['id']}/run"
            run_id = (await api.post(path, json={"input_data": {}})).json()["run_id"]
            run = await until(api, run_id, "completed", "failed")
    fetch, notify = run["step_runs"]
    assert run["status"] == "completed", run
    assert fetch["output"] == {"status_code": 200, "body": {"path": "/data", "n": 1}}
    assert "usage" not in fetch
    assert notify["output"] == "Posted summary to #general"
    assert notify["usage"] == {
        "requests": 1,
        "input_tokens": TOKENS[0],
        "output_tokens": TOKENS[1],
    }
    asked = str(server.asked[0].body["messages"])
    assert "Summarize the fetched data and post to Slack" in asked
    assert '"path": "/data"' in asked, "the agent is given what the step depends on"


async def test_an_agent_that_is_gone(
    api: httpx2.AsyncClient, settings: Settings, temporal: str
) -> None:
    agent = await create(api)
    step = {
        "id": "ask",
        "type": "agent_task",
        "config": {"agent_id": agent["id"], "goal": "x"},
    }
    created = await api.post(
        "/api/workflows", json={"definition": {"name": "Ask", "steps": [step]}}
    )
    await api.delete(f"/api/agents/{agent['id']}")
    async with working(settings, temporal):
        path = f"/api/workflows/{created.json()['id']}/run"
        run_id = (await api.post(path)).json()["run_id"]
        run = await until(api, run_id, "completed", "failed")
    assert run["status"] == "failed"
    assert run["step_runs"][0]["error"]["code"] == "agent_not_found"
