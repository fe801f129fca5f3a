"""The published page of `/api/workflows` to the letter: authoring and templates, a route a test.

What the page leaves out (`{...}`, `agent_123`) is filled in with what this deployment takes.
"""

import re
from typing import Any

import httpx2
import pytest

ISO = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
FETCH = {
    "id": "fetch",
    "type": "http_request",
    "config": {"method": "GET", "url": "https://api.example.com/data"},
}
NOTIFY = {
    "id": "notify",
    "type": "webhook",
    "config": {"url": "https://hooks.example.com/slack"},
    "depends_on": ["fetch"],
}
RECOVER = {"id": "recover", "type": "transform", "config": {"output": None}}
DEFINITION: dict[str, Any] = {"name": "Fetch and notify", "steps": [FETCH, NOTIFY]}
FIXED: dict[str, Any] = {
    "name": "Fetch and notify",
    "steps": [FETCH | {"config": {"method": "GET", "url": "https://new-url.com"}}, NOTIFY],
}
RECOVERING: dict[str, Any] = FIXED | {"steps": [*FIXED["steps"], RECOVER]}
SUMMARY = {
    "id",
    "name",
    "version",
    "status",
    "trigger_type",
    "tags",
    "created_at",
    "updated_at",
}


@pytest.fixture
async def workflow(api: httpx2.AsyncClient) -> str:
    """The address of a workflow at version 1."""
    body = {"definition": DEFINITION, "trigger_type": "manual", "tags": ["notifications"]}
    answer = await api.post("/api/workflows", json=body)
    assert answer.status_code == 201, answer.text
    return f"/api/workflows/{answer.json()['id']}"


@pytest.fixture
async def versions(api: httpx2.AsyncClient, workflow: str) -> str:
    """The address of a workflow at version 3, as the page lists them."""
    for definition, said in ((FIXED, "Fixed URL"), (RECOVERING, "Added error step")):
        body = {"definition": definition, "change_summary": said}
        assert (await api.put(workflow, json=body)).status_code == 200
    return workflow


async def test_list_workflows(api: httpx2.AsyncClient, versions: str) -> None:
    """GET /api/workflows"""
    answer = await api.get(
        "/api/workflows",
        params={
            "status": "active",
            "trigger_type": "manual",
            "tag": "notifications",
            "limit": 200,
            "offset": 0,
        },
    )
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"workflows", "total"}
    assert body["total"] == 1
    (row,) = body["workflows"]
    assert set(row) >= SUMMARY
    assert re.fullmatch(r"wf_[0-9a-z]+", row["id"])
    assert (row["name"], row["version"], row["status"]) == ("Fetch and notify", 3, "active")
    assert (row["trigger_type"], row["tags"]) == ("manual", ["notifications"])
    assert ISO.match(row["created_at"])
    assert ISO.match(row["updated_at"])
    assert (await api.get("/api/workflows", params={"limit": 201})).status_code == 422


async def test_create_a_workflow(api: httpx2.AsyncClient) -> None:
    """POST /api/workflows"""
    answer = await api.post(
        "/api/workflows",
        json={"definition": DEFINITION, "trigger_type": "manual", "tags": ["notifications"]},
    )
    assert answer.status_code == 201
    body = answer.json()
    assert set(body) == {"id", "workflow"}
    assert body["id"].startswith("wf_")
    assert body["workflow"]["definition"] == DEFINITION


async def test_get_a_workflow(api: httpx2.AsyncClient, workflow: str) -> None:
    """GET /api/workflows/{id}"""
    answer = await api.get(workflow)
    assert answer.status_code == 200
    assert set(answer.json()) == {"workflow"}
    assert set(answer.json()["workflow"]) >= SUMMARY | {"description", "definition"}
    assert answer.json()["workflow"]["definition"] == DEFINITION


async def test_update_a_workflow(api: httpx2.AsyncClient, workflow: str) -> None:
    """PUT /api/workflows/{id}"""
    body = {"definition": RECOVERING, "change_summary": "Added error handling step"}
    answer = await api.put(workflow, json=body)
    assert answer.status_code == 200, answer.text
    updated = answer.json()["workflow"]
    assert (updated["version"], updated["definition"]) == (2, RECOVERING)
    listed = (await api.get(f"{workflow}/versions")).json()["versions"]
    assert listed[0]["change_summary"] == "Added error handling step"


async def test_delete_a_workflow(api: httpx2.AsyncClient, workflow: str) -> None:
    """DELETE /api/workflows/{id}"""
    answer = await api.delete(workflow)
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert (await api.get(workflow)).status_code == 404


@pytest.mark.parametrize("status", ["draft", "active", "paused", "archived"])
async def test_update_workflow_status(api: httpx2.AsyncClient, workflow: str, status: str) -> None:
    """PATCH /api/workflows/{id}/status"""
    answer = await api.patch(f"{workflow}/status", json={"status": status})
    assert answer.status_code == 200
    assert answer.json()["workflow"]["status"] == status
    assert (await api.patch(f"{workflow}/status", json={"status": "off"})).status_code == 422


async def test_validate(api: httpx2.AsyncClient) -> None:
    """POST /api/workflows/validate"""
    answer = await api.post("/api/workflows/validate", json={"definition": DEFINITION})
    assert answer.status_code == 200
    assert (answer.json()["valid"], answer.json()["errors"]) == (True, [])
    step = {"type": "transform", "config": {"output": 1}}
    broken = {
        "name": "Broken",
        "steps": [
            {"id": "notify", **step, "depends_on": ["fetch"]},
            {"id": "step_a", **step, "depends_on": ["step_b"]},
            {"id": "step_b", **step, "depends_on": ["step_a"]},
        ],
    }
    answer = await api.post("/api/workflows/validate", json={"definition": broken})
    assert answer.status_code == 200
    assert answer.json()["valid"] is False
    assert answer.json()["errors"] == [
        "Step 'notify' depends on 'fetch' which doesn't exist",
        "Cycle detected: step_a → step_b → step_a",
    ]


async def test_list_versions(api: httpx2.AsyncClient, versions: str) -> None:
    """GET /api/workflows/{id}/versions"""
    answer = await api.get(f"{versions}/versions")
    assert answer.status_code == 200
    listed = answer.json()["versions"]
    assert [(row["version"], row["change_summary"]) for row in listed] == [
        (3, "Added error step"),
        (2, "Fixed URL"),
        (1, "Initial version"),
    ]
    for row in listed:
        assert set(row) == {"version", "change_summary", "created_at"}
        assert ISO.match(row["created_at"])


async def test_get_a_specific_version(api: httpx2.AsyncClient, versions: str) -> None:
    """GET /api/workflows/{id}/versions/{version}"""
    answer = await api.get(f"{versions}/versions/2")
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"version", "definition", "change_summary", "created_at"}
    assert (body["version"], body["definition"]) == (2, FIXED)
    assert (await api.get(f"{versions}/versions/4")).status_code == 404


async def test_diff_two_versions(api: httpx2.AsyncClient, versions: str) -> None:
    """GET /api/workflows/{id}/diff?v1=1&v2=3"""
    answer = await api.get(f"{versions}/diff?v1=1&v2=3")
    assert answer.status_code == 200
    assert answer.json() == {
        "diff": [
            {"op": "add", "path": "/steps/2", "value": RECOVER},
            {"op": "replace", "path": "/steps/0/config/url", "value": "https://new-url.com"},
        ],
        "summary": "Added 1 step, modified 1 step",
        "v1": 1,
        "v2": 3,
    }


async def test_roll_back_to_a_version(api: httpx2.AsyncClient, versions: str) -> None:
    """POST /api/workflows/{id}/rollback"""
    answer = await api.post(f"{versions}/rollback", json={"version": 2})
    assert answer.status_code == 200
    assert answer.json()["workflow"]["version"] == 4
    assert answer.json()["workflow"]["definition"] == FIXED
    listed = (await api.get(f"{versions}/versions")).json()["versions"]
    assert [row["version"] for row in listed] == [4, 3, 2, 1]


async def test_list_templates(api: httpx2.AsyncClient) -> None:
    """GET /api/workflows/templates"""
    answer = await api.get(
        "/api/workflows/templates",
        params={"category": "notifications", "is_builtin": "true", "limit": 10, "offset": 0},
    )
    assert answer.status_code == 200
    assert answer.json()["total"] == 1
    (row,) = answer.json()["templates"]
    assert set(row) >= {"id", "name", "description", "category", "is_builtin"}
    assert (row["name"], row["category"], row["is_builtin"]) == (
        "Fetch and notify",
        "notifications",
        True,
    )


async def first_template(api: httpx2.AsyncClient) -> str:
    """The address of a builtin template."""
    listed = (await api.get("/api/workflows/templates?is_builtin=1")).json()["templates"]
    return f"/api/workflows/templates/{listed[0]['id']}"


async def test_get_a_template(api: httpx2.AsyncClient) -> None:
    """GET /api/workflows/templates/{id}"""
    answer = await api.get(await first_template(api))
    assert answer.status_code == 200
    assert set(answer.json()) == {"template"}
    assert answer.json()["template"]["definition"]["steps"]


async def test_install_a_template(api: httpx2.AsyncClient) -> None:
    """POST /api/workflows/templates/{id}/install"""
    answer = await api.post(
        f"{await first_template(api)}/install", json={"name": "My custom pipeline"}
    )
    assert answer.status_code == 201
    assert set(answer.json()) == {"workflow_id"}
    made = await api.get(f"/api/workflows/{answer.json()['workflow_id']}")
    assert made.json()["workflow"]["name"] == "My custom pipeline"
    assert made.json()["workflow"]["status"] == "draft"
