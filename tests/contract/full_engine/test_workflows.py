"""Create, read, list and validate, as the published page of `/api/workflows` has them."""

import httpx2
import pytest

from engine.roles import Role
from tests.contract.conftest import Door
from tests.contract.full_engine.definitions import QUIET

#: From the published page.
FETCH = {
    "name": "Fetch and notify",
    "steps": [
        {
            "id": "fetch",
            "type": "http_request",
            "config": {"method": "GET", "url": "https://api.example.com/data"},
        },
        {
            "id": "notify",
            "type": "webhook",
            "config": {"url": "https://hooks.example.com/x"},
            "depends_on": ["fetch"],
        },
    ],
}


async def test_create_answers_201_with_id_workflow_and_location(api: httpx2.AsyncClient) -> None:
    answer = await api.post(
        "/api/workflows",
        json={"definition": FETCH, "trigger_type": "manual", "tags": ["notifications"]},
    )
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert set(body) == {"id", "workflow"}
    workflow = body["workflow"]
    assert body["id"] == workflow["id"]
    assert body["id"].startswith("wf_")
    assert len(body["id"]) == 35
    assert workflow["definition"] == FETCH
    assert (workflow["name"], workflow["version"]) == ("Fetch and notify", 1)
    assert (workflow["status"], workflow["trigger_type"]) == ("active", "manual")
    assert workflow["tags"] == ["notifications"]
    assert workflow["created_at"].endswith("Z")
    assert answer.headers["location"] == f"/api/workflows/{body['id']}"
    found = await api.get(answer.headers["location"])
    assert found.json() == {"workflow": workflow}


async def test_lists_are_newest_first_and_filtered(api: httpx2.AsyncClient) -> None:
    ids = []
    for tags, status in ((["a"], "active"), (["a", "b"], "draft"), ([], "active")):
        answer = await api.post(
            "/api/workflows", json={"definition": QUIET, "tags": tags, "status": status}
        )
        ids.append(answer.json()["id"])
    everything = (await api.get("/api/workflows")).json()
    assert [row["id"] for row in everything["workflows"]] == ids[::-1]
    assert everything["total"] == 3
    assert "definition" not in everything["workflows"][0]
    for query, wanted in (
        ("tag=a", [ids[1], ids[0]]),
        ("status=draft", [ids[1]]),
        ("trigger_type=schedule", []),
        ("limit=1&offset=1", [ids[1]]),
    ):
        page = (await api.get(f"/api/workflows?{query}")).json()
        assert [row["id"] for row in page["workflows"]] == wanted, query
    assert (await api.get("/api/workflows?limit=1&offset=1")).json()["total"] == 3


@pytest.mark.parametrize(
    "query",
    [
        "limit=201",
        "limit=0",
        "offset=-1",
        "status=nope",
        "trigger_type=nope",
        "limit=x",
        "tag=%00",
        "offset=99999999999999999999999",
    ],
)
async def test_a_bad_query_is_a_422(api: httpx2.AsyncClient, query: str) -> None:
    answer = await api.get(f"/api/workflows?{query}")
    assert answer.status_code == 422
    body = answer.json()
    assert (body["error"], body["status"]) == ("validation_error", 422)
    assert body["errors"]
    assert body["problems"][0]["path"].startswith("query.")


async def test_validate_speaks_the_published_sentences(api: httpx2.AsyncClient) -> None:
    valid = await api.post("/api/workflows/validate", json={"definition": FETCH})
    assert valid.status_code == 200
    assert valid.json() == {"valid": True, "errors": [], "problems": []}
    step = {"type": "transform", "config": {"output": 1}}
    for steps, sentence in (
        (
            [{"id": "notify", **step, "depends_on": ["fetch"]}],
            "Step 'notify' depends on 'fetch' which doesn't exist",
        ),
        (
            [
                {"id": "step_a", **step, "depends_on": ["step_b"]},
                {"id": "step_b", **step, "depends_on": ["step_a"]},
            ],
            "Cycle detected: step_a → step_b → step_a",
        ),
    ):
        definition = {"name": "x", "steps": steps}
        answer = await api.post("/api/workflows/validate", json={"definition": definition})
        assert answer.status_code == 200
        assert answer.json()["valid"] is False
        assert answer.json()["errors"] == [sentence]
        refused = await api.post("/api/workflows", json={"definition": definition})
        assert refused.status_code == 422
        assert refused.json()["error"] == "validation_error"
        assert refused.json()["errors"] == [sentence]
    assert (await api.get("/api/workflows")).json()["total"] == 0


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"definition": []},
        {"definition": None},
        {"definition": QUIET, "surprise": 1},
        {"definition": QUIET, "trigger_type": "moon"},
        {"definition": QUIET, "tags": ["\0"]},
        {"definition": QUIET, "tags": [""]},
        {"definition": QUIET, "tags": "a"},
        {"definition": QUIET, "status": "deleted"},
        {"definition": QUIET | {"name": "a\0b"}},
        {"definition": QUIET | {"description": "a\0b"}},
        {"definition": QUIET | {"name": ""}},
        [],
        "text",
        None,
    ],
)
async def test_a_wrong_body_is_a_422_and_keeps_nothing(
    api: httpx2.AsyncClient, body: object
) -> None:
    answer = await api.post("/api/workflows", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"]
    assert (await api.get("/api/workflows")).json()["total"] == 0


async def test_foreign_and_unknown_look_the_same(api: httpx2.AsyncClient, door: Door) -> None:
    mine = (await api.post("/api/workflows", json={"definition": QUIET})).json()["id"]
    run = (await api.post(f"/api/workflows/{mine}/run", json={})).json()["run_id"]
    unknown_workflow = "wf_" + "0" * 32
    unknown_run = "run_" + "0" * 32
    async with door.client(await door.key(Role.ADMIN, "others")) as stranger:
        for method, path in (
            ("GET", "/api/workflows/{wf}"),
            ("POST", "/api/workflows/{wf}/run"),
            ("GET", "/api/workflows/{wf}/runs"),
            ("GET", "/api/workflows/runs/{run}"),
            ("GET", "/api/workflows/runs/{run}/output"),
            ("GET", "/api/workflows/runs/{run}/steps/first/output"),
            ("POST", "/api/workflows/runs/{run}/cancel"),
            ("POST", "/api/workflows/runs/{run}/pause"),
            ("POST", "/api/workflows/runs/{run}/resume"),
            ("GET", "/api/workflows/runs/{run}/stream"),
        ):
            json: dict[str, str] | None = {} if path.endswith("/run") else None
            answers = [
                await stranger.request(method, path.format(wf=wf, run=run_id), json=json)
                for wf, run_id in (
                    (mine, run),
                    (unknown_workflow, unknown_run),
                    (mine.removeprefix("wf_"), run.removeprefix("run_")),
                    ("wf_%00", "run_" + "G" * 32),
                )
            ]
            assert {answer.status_code for answer in answers} == {404}, path
            assert len({answer.content for answer in answers}) == 1, path
            assert answers[0].json()["error"] == "not_found"
        assert (await stranger.get("/api/workflows")).json() == {"workflows": [], "total": 0}
    still = (await api.get(f"/api/workflows/runs/{run}")).json()["run"]
    assert still["status"] == "pending"
