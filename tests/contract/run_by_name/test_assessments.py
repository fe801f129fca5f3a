"""A-5: assessments begin with their workflow or not at all, and are deleted with their runs."""

import asyncio
import re
from typing import Any

import httpx2
import pytest

from engine.roles import Role
from tests.contract.conftest import Door
from tests.contract.run_by_name.definitions import create, read, until

#: The published example.
CONTROLS = ["cbctst_9f4a1c0d7b2e4e9f8c1d2b3a4e5f6071"]
FLOW = "annual-reassessment-flow"


async def record(api: httpx2.AsyncClient, kind: str, **fields: Any) -> str:
    body = {"entityTypeId": kind, "fields": fields}
    answer = await api.post("/api/v1/entities", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.fixture
async def vendor(api: httpx2.AsyncClient) -> str:
    return f"cbvndr_{await record(api, 'Vendor', name='Acme')}"


def flow(name: str = FLOW, *, seconds: float = 0) -> dict[str, Any]:
    """A workflow that looks at its assessment, and may take a while."""
    steps = [
        {"id": "hold", "type": "wait", "config": {"duration": seconds}},
        {
            "id": "look",
            "type": "transform",
            "depends_on": ["hold"],
            "config": {"output": "{{ input.assessment_id }} of {{ entity.fields.vendor_id }}"},
        },
    ]
    return {"name": name, "steps": steps}


async def begin(api: httpx2.AsyncClient, vendor: str, **more: Any) -> dict[str, Any]:
    body = {"vendor_id": vendor, "control_set_ids": CONTROLS, **more}
    answer = await api.post("/v1/assessments", json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def none(api: httpx2.AsyncClient) -> None:
    """Nothing was begun."""
    assert (await api.get("/v1/assessments")).json()["total"] == 0
    assert (await api.get("/v1/workflows/runs")).json()["total"] == 0


async def test_a5_create_an_assessment(api: httpx2.AsyncClient, worker: None, vendor: str) -> None:
    """The published request, and the keys of the published answer."""
    await create(api, flow(), status="active")
    service = f"cbsvc_{await record(api, 'Service', name='Payroll')}"
    made = await begin(api, vendor, service_ids=[service], trigger_workflow=FLOW)
    assert [*made] == [
        *("id", "vendor_id", "name", "status", "control_set_ids", "service_ids", "assignee_id"),
        *("score_percent", "findings_count", "initiated_at", "created_at", "updated_at"),
        "workflow_run_id",
    ]
    assert re.fullmatch("cbqsrw_[0-9a-f]{32}", made["id"])
    assert (made["vendor_id"], made["name"], made["status"]) == (vendor, "Acme", "created")
    assert (made["control_set_ids"], made["service_ids"]) == (CONTROLS, [service])
    run = await until(api, made["workflow_run_id"], "completed")
    assert run["workflow_name"] == FLOW
    artifact = {"artifact_type": "assessment", "id": made["id"], "role": "trigger"}
    assert [step["artifacts"] for step in run["steps"]] == [[artifact], [artifact]]
    page = await api.get(f"/api/workflows/runs/run_{run['workflow_run_id'][5:]}")
    assert page.json()["run"]["output"] == f"{made['id']} of {vendor}"


async def test_one_without_a_workflow(api: httpx2.AsyncClient, vendor: str) -> None:
    bare = vendor.removeprefix("cbvndr_")
    made = await begin(api, bare, name="Yearly", control_set_ids=[], assignee_id="cbuser_1")
    assert (made["vendor_id"], made["name"], made["control_set_ids"]) == (vendor, "Yearly", [])
    assert (made["assignee_id"], made["workflow_run_id"]) == ("cbuser_1", None)
    read_back = (await api.get(f"/v1/assessments/{made['id']}")).json()
    run = made.pop("workflow_run_id")
    assert run is None
    assert read_back == {**made, "custom_fields": {}}


async def test_a_q15_a_disabled_workflow_begins_no_assessment(
    api: httpx2.AsyncClient, vendor: str
) -> None:
    await create(api, flow(), status="archived")
    body = {"vendor_id": vendor, "control_set_ids": [], "trigger_workflow": FLOW}
    answer = await api.post("/v1/assessments", json=body)
    assert answer.status_code == 409
    told = {"code": "workflow_disabled", "message": f"Workflow '{FLOW}' is disabled."}
    assert answer.json() == {"detail": told}
    await none(api)


async def test_an_unknown_workflow_begins_no_assessment(
    api: httpx2.AsyncClient, vendor: str
) -> None:
    for name in ("nothing", FLOW.upper(), "", "a\x00b", "x" * 300):
        body = {"vendor_id": vendor, "control_set_ids": [], "trigger_workflow": name}
        answer = await api.post("/v1/assessments", json=body)
        assert answer.status_code == 404, name
        told = {"code": "workflow_not_found", "message": f"Workflow '{name}' not found."}
        assert answer.json() == {"detail": told}
    await none(api)


async def test_what_it_is_about_has_to_be_there(
    api: httpx2.AsyncClient, door: Door, vendor: str
) -> None:
    await create(api, flow(), status="active")
    async with door.client(await door.key(Role.ADMIN, "other")) as other:
        foreign = await record(other, "Vendor", name="F")
    gone = await record(api, "Vendor", name="G")
    assert (await api.delete(f"/api/v1/entities/{gone}")).status_code == 200
    service = await record(api, "Service", name="S")
    for field, named, message in (
        *(("vendor_id", id, "Vendor not found.") for id in (foreign, gone, service, "x", "")),
        *(("service_ids", [id], "Service not found.") for id in (vendor, "cbsvc_x")),
    ):
        body = {"vendor_id": vendor, "control_set_ids": [], "trigger_workflow": FLOW, field: named}
        answer = await api.post("/v1/assessments", json=body)
        assert answer.status_code == 400, (field, named, answer.text)
        assert answer.json() == {"detail": {"error": message}}
    await none(api)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"control_set_ids": []}, ["body", "vendor_id"]),
        ({"vendor_id": "a"}, ["body", "control_set_ids"]),
        ({"vendor_id": "a", "control_set_ids": None}, ["body", "control_set_ids"]),
        ({"vendor_id": "a", "control_set_ids": [1]}, ["body", "control_set_ids", 0]),
        ({"vendor_id": "a", "control_set_ids": [], "name": ""}, ["body", "name"]),
    ],
)
async def test_a_body_that_does_not_fit(
    api: httpx2.AsyncClient, body: dict[str, Any], where: list[Any]
) -> None:
    answer = await api.post("/v1/assessments", json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == where
    await none(api)


async def test_one_key_begins_one_assessment(api: httpx2.AsyncClient, vendor: str) -> None:
    await create(api, flow(), status="active")
    headers = {"Idempotency-Key": "ariba-req-7821"}
    body = {"vendor_id": vendor, "control_set_ids": CONTROLS, "trigger_workflow": FLOW}
    answers = await asyncio.gather(
        *(api.post("/v1/assessments", json=body, headers=headers) for _ in range(10))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    replayed = [answer.headers.get("idempotent-replayed") for answer in answers]
    assert sorted(map(str, replayed)) == ["None", *["true"] * 9]
    assert (await api.get("/v1/assessments")).json()["total"] == 1
    assert (await api.get("/v1/workflows/runs")).json()["total"] == 1


async def test_a_workflow_that_is_bound_as_well_is_started_once(
    api: httpx2.AsyncClient, vendor: str
) -> None:
    bound = {"trigger_type": "event", "trigger": {"event": "Assessment.Created"}}
    await create(api, flow(), status="active", **bound)
    await create(api, flow("another"), status="active", **bound)
    unmet = {"event": "Assessment.Created", "conditions": "entity.fields.name == 'Nobody'"}
    await create(api, flow("third"), status="active", trigger_type="event", trigger=unmet)
    made = await begin(api, vendor, trigger_workflow=FLOW)
    runs = (await api.get("/v1/workflows/runs")).json()
    assert {run["workflow_name"] for run in runs["data"]} == {FLOW, "another"}
    assert runs["total"] == 2
    assert made["workflow_run_id"] in {run["workflow_run_id"] for run in runs["data"]}


async def test_deleting_one_cancels_its_runs(
    api: httpx2.AsyncClient, worker: None, vendor: str
) -> None:
    bound = {"trigger_type": "event", "trigger": {"event": "Assessment.Created"}}
    await create(api, flow("bound", seconds=3_600), status="active", **bound)
    await create(api, flow(seconds=3_600), status="active")
    made, kept = [await begin(api, vendor, trigger_workflow=FLOW) for _ in range(2)]
    runs = (await api.get("/v1/workflows/runs")).json()["data"]
    assert len(runs) == 4
    answers = [await api.delete(f"/v1/assessments/{made['id']}") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    deleted = answers[0].json()
    assert [*deleted] == ["id", "status", "is_archived", "archived_at"]
    assert (deleted["id"], deleted["status"]) == (made["id"], "canceled")
    assert deleted["is_archived"] is True
    assert answers[1].json() == deleted
    assert await until(api, made["workflow_run_id"], "canceled")
    async with asyncio.timeout(60):
        while True:
            listed = (await api.get("/v1/workflows/runs")).json()["data"]
            if sum(run["status"] == "canceled" for run in listed) == 2:
                break
            await asyncio.sleep(0.1)
    assert (await read(api, kept["workflow_run_id"]))["status"] == "started"
    found = (await api.get(f"/v1/assessments/{made['id']}")).json()
    assert found["status"] == "canceled"
    page = (await api.get("/v1/assessments")).json()
    assert [one["id"] for one in page["items"]] == [kept["id"]]


async def test_pages_of_them(api: httpx2.AsyncClient, vendor: str) -> None:
    made = [(await begin(api, vendor))["id"] for _ in range(3)]
    page = (await api.get("/v1/assessments?limit=2&offset=1")).json()
    assert [one["id"] for one in page["items"]] == [made[1], made[0]]
    assert (page["total"], page["limit"], page["offset"]) == (3, 2, 1)
    for query in ("limit=0", "limit=201", "offset=-1"):
        assert (await api.get(f"/v1/assessments?{query}")).status_code == 422


async def test_one_that_is_not_there(api: httpx2.AsyncClient, door: Door, vendor: str) -> None:
    made = await begin(api, vendor)
    async with door.client(await door.key(Role.ADMIN, "other")) as other:
        for id in (made["id"], "cbqsrw_" + "0" * 32, "x", made["id"].replace("cbqsrw_", "cbwr_")):
            for method in ("GET", "DELETE"):
                answer = await other.request(method, f"/v1/assessments/{id}")
                assert answer.status_code == 404
                told = {"code": "assessment_not_found", "message": "Assessment not found."}
                assert answer.json() == {"detail": told}
